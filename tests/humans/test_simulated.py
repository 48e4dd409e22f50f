"""Simulated humans in time: their states belong to copies of the environment, their episodes to seeds alone."""

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.humans.simulated import HesitantHuman
from mile.policies import CategoricalPolicy, GaussianPolicy
from mile.timing import Believing
from tests.support import act_by_step
from tests.timing.people import MODELS

ENTRIES = ("intervened", "human_action", "executed_action", "intervention_prob", "observation", "step")


def human_of(name, kind=GaussianPolicy, human=SimulatedHuman, cost=1.0, **options):
    """Return a human with small random policies, who decides by one of the models in time."""
    torch.manual_seed(0)
    expert, mental_model = (kind(2, 5 if kind is CategoricalPolicy else 2, (8,)) for _ in range(2))
    return human(expert, mental_model, cost=cost, scale=1.0, timing=MODELS[name], **options)


def act_in_the_box(step):
    """A robot that acts by the step."""
    return step.set("action", (0.1 * step["observation"]).sin())


# a human who acts in proportion to how sure they are


def test_a_hesitant_human_draws_actions_scaled_by_how_sure_they_are():
    human = human_of("memoryless", human=HesitantHuman)
    count = 200_000
    observation = torch.tensor([3.0, 1.0]).expand(count, 2)
    decision = human.decide(TensorDict({"observation": observation}, [count]))
    prob = decision.intervention_prob[0]
    expert = human.expert(observation[0].double())
    assert 0.05 < prob < 0.95
    mean, std = prob * expert.mean, prob * expert.stddev
    assert ((decision.action.mean(0) - mean).abs() < 4 * std / count**0.5).all()
    assert ((decision.action.std(0) - std).abs() < 4 * std / (2 * count) ** 0.5).all()

    # as often as the human of the paper, and by the episode's own random numbers
    assert abs(decision.intervened.double().mean() - prob) < 4 * (prob * (1 - prob) / count) ** 0.5
    noise = torch.tensor([[0.5, 0.5, 0.8413447]])
    one = human.decide(TensorDict({"observation": observation[:1], "human_noise": noise}, [1]))
    torch.testing.assert_close(one.action[0], mean + torch.tensor([0.0, 1.0]) * std, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [CategoricalPolicy, "squash"])
def test_a_hesitant_human_without_diagonal_gaussian_actions_is_refused_in_one_line(kind):
    expert = CategoricalPolicy(2, 5, (8,)) if kind is CategoricalPolicy else GaussianPolicy(2, 2, (8,), squash=True)
    with pytest.raises(ValueError, match="needs continuous actions of a diagonal Gaussian") as error:
        HesitantHuman(expert, expert, cost=1.0, scale=1.0)
    assert "\n" not in str(error.value)


def test_a_belief_that_does_not_fit_is_refused_in_one_line():
    squashed, plain = GaussianPolicy(2, 2, (8,), squash=True), GaussianPolicy(2, 2, (8,))
    for policy, prior, message in ((squashed, (0.8, 0.1, 0.1), "squash"), (plain, (0.5, 0.5), "3 weights")):
        with pytest.raises(ValueError, match=message) as error:
            SimulatedHuman(policy, policy, cost=1.0, scale=1.0, timing=Believing(0.0, prior=prior))
        assert "\n" not in str(error.value)


def test_a_cost_of_staying_above_that_of_taking_over_is_refused():
    with pytest.raises(ValueError, match="must be below the cost of taking over"):
        human_of("sticky", cost=-1.0)


# episodes


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("discrete", [True, False])
def test_episodes_are_the_same_in_any_number_of_copies_whose_episodes_end_one_by_one(name, discrete):
    human = human_of(name, CategoricalPolicy if discrete else GaussianPolicy, cost=0.2 if discrete else 30.0)
    robot = act_by_step if discrete else act_in_the_box
    played = []
    for num_envs, numbers in ((1, range(10)), (3, range(10)), (8, [7, 3, 9, 0, 1, 2, 4, 5, 6, 8])):
        env = make_env("Counting-v0" if discrete else "CountingBox-v0", num_envs)
        watched = TransformedEnv(env, InterventionTransform(human))  # the same human, who has a past
        steps = collect_episodes(watched, robot, numbers, seed=3)
        played.append(steps[(1000 * steps["episode"] + steps["step"]).argsort()])
    assert 0 < played[0]["intervened"].float().mean() < 1
    for steps in played[1:]:
        for key in ENTRIES:
            assert torch.equal(steps[key].nan_to_num(), played[0][key].nan_to_num()), key


@pytest.mark.parametrize("name", MODELS)
def test_an_episode_begins_in_these_copies_and_in_no_other(name):
    human = human_of(name)
    fresh = human.timing.begin(torch.Size([4]))
    torch.manual_seed(1)
    for _ in range(6):
        step(human, 4)
    before = {key: value.clone() for key, value in human._state.items()}
    begins = torch.tensor([True, False, True, False])
    human.begin(begins)
    for key, value in human._state.items():
        assert torch.equal(value[begins], fresh[key][begins])
        assert torch.equal(value[~begins], before[key][~begins])
    human.begin()
    step(human, 7)  # all anew, in another number of copies


def step(human, count):
    """One step of copies of an environment."""
    decision = human.decide(TensorDict({"observation": torch.randn(count, 2)}, [count]))
    human.judge(decision.action.clamp(-1, 1).float())


@pytest.mark.parametrize("name", ["delayed", "believing", "accumulating"])
def test_a_copy_alone_remembers_what_it_would_remember_among_others(name):
    together, alone = human_of(name), human_of(name)
    torch.manual_seed(2)
    for number in range(12):
        observation, noise = torch.randn(3, 2), torch.rand(3, 3)
        entries = TensorDict({"observation": observation, "human_noise": noise}, [3])
        if number == 5:
            together.begin(torch.tensor([True, False, True]))
        decision, own = together.decide(entries), alone.decide(entries[1:2])
        torch.testing.assert_close(decision.intervention_prob[1:2], own.intervention_prob, rtol=1e-12, atol=0)
        executed = decision.action.clamp(-1, 1).float()
        together.judge(executed)
        alone.judge(executed[1:2])


def test_the_states_of_a_human_leave_no_graph_and_their_random_numbers_are_those_of_the_episode():
    env = make_env("CountingBox-v0", 2)
    human = human_of("delayed", cost=0.2)
    policy = make_policy(env, hidden_dims=(8,))
    watched = TransformedEnv(env, InterventionTransform(human))
    torch.manual_seed(1)
    first = collect_episodes(watched, policy, 3, seed=1)
    torch.manual_seed(2)
    second = collect_episodes(watched, policy, 3, seed=1)
    assert torch.equal(first["intervened"], second["intervened"])
    assert not any(value.requires_grad for value in human._state.values())
