"""What gates go by, against values that are known."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tensordict import TensorDict

from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import make_env, make_policy
from mile.gates import Chance, InterventionProbability, ProxyValue, Risk, Variance
from mile.gates.gate import usual_distance
from mile.gates.scores import distance
from mile.methods import MILE
from mile.transitions import DEMONSTRATION
from tests.methods.training import make


class Learner:
    def __init__(self):
        self.policy = make_policy(make_env("Counting-v0"), hidden_dims=(32,))


def chain(copies=50):
    """Return steps of a chain 0 → 1 → 2 → 3 that ends in success, and of one that ends in failure at −1."""
    states = torch.tensor([0.0, 1.0, 2.0, -1.0]).repeat(copies)
    count = len(states)
    ends, succeeds = states.abs() != states, states == 2.0
    return TensorDict(
        {
            "observation": torch.stack([states, torch.zeros(count)], -1),
            "robot_action": torch.zeros(count, dtype=torch.int64),
            "executed_action": torch.zeros(count, dtype=torch.int64),
            "human_action": torch.full([count], -1),
            "intervened": torch.zeros(count, dtype=torch.bool),
            "attended": torch.ones(count, dtype=torch.bool),
            "next": {
                "observation": torch.stack([states + 1, torch.zeros(count)], -1),
                "terminated": ends | succeeds,
                "success": succeeds,
            },
        },
        [count],
    )


def at(observation, action=0):
    return TensorDict(
        {"observation": observation, "action": torch.full([len(observation)], action)}, [len(observation)]
    )


def test_the_risk_is_that_of_success_far_away():
    learner = Learner()
    for parameter in learner.policy.network.parameters():  # it always takes the first action
        torch.nn.init.zeros_(parameter)
    learner.policy.network[-1].bias.data[0] = 9.0
    score = Risk(discount=0.5, updates=1500)
    score.learn(learner, chain())
    risk = score(at(chain(1)["observation"]))
    torch.testing.assert_close(risk, torch.tensor([0.75, 0.5, 0.0, 1.0]).double(), atol=0.05, rtol=0)


def test_the_proxy_value_tells_the_robots_corrected_actions_from_the_humans():
    """Without a discount, the human's action has the least of q² + (q + 1)², and the robot's of (q − 1)²."""
    steps = chain()
    human = steps["observation"][:, 0] == 1.0
    steps["intervened"], steps["robot_action"] = human, torch.where(human, 3, 0)
    steps["human_action"] = torch.where(human, 0, -1)
    score = ProxyValue(discount=0.0, updates=1500)
    score.learn(Learner(), steps)
    corrected = steps["observation"][human][:1]
    assert float(score(at(corrected, 0))) == pytest.approx(-0.5, abs=0.05)
    assert float(score(at(corrected, 3))) == pytest.approx(1.0, abs=0.05)


def test_an_ensemble_disagrees_where_nothing_was_recorded():
    """It learns that the action is the state, between −1 and 1."""
    known = torch.linspace(-1, 1, 200).unsqueeze(-1).expand(200, 2)
    steps = TensorDict(
        {
            "observation": known,
            "robot_action": known,
            "human_action": torch.full_like(known, torch.nan),
            "intervened": torch.zeros(200, dtype=torch.bool),
            "attended": torch.ones(200, dtype=torch.bool),
        },
        [200],
    )
    learner = Learner()
    learner.policy = make_policy(make_env("CountingBox-v0"), hidden_dims=(32,))
    score = Variance(steps=300)
    score.learn(learner, steps)
    assert score(at(torch.tensor([[3.0, -3.0]]))) > 10 * score(at(known)).max()


def test_an_ensemble_does_not_learn_from_robots_that_nobody_attended():
    steps = chain()
    strange = steps.clone()
    strange["observation"] += 100.0
    strange["robot_action"].fill_(4)
    strange["attended"].fill_(False)
    first, second = Variance(steps=20), Variance(steps=20)
    first.learn(Learner(), steps)
    second.learn(Learner(), torch.cat([steps, strange]))
    assert torch.equal(first(at(steps["observation"])), second(at(steps["observation"])))


def test_an_ensemble_sees_pictures_as_the_policy_does(tmp_path):
    """The picture alone shows the number of the step, by which the robot acts."""
    name, learner = "CountingShown-v0", Learner()
    env, data = make_env(name, stack=2), InterventionDataModule(tmp_path, name, stack=2)
    learner.policy = make_policy(env, in_keys=["pixels"], encoder={"width": 32}, hidden_dims=(32,))
    played = collect_episodes(env, lambda step: step.set("action", (step["observation"][..., 1] > 9).long()), 8, seed=0)
    played["attended"].fill_(True)
    for number in range(8):
        data.buffer.append(played[played["episode"] == number])

    score, steps = Variance(members=2, steps=300), data.buffer.at(torch.arange(len(played)))
    score.learn(learner, steps)
    for policy in score.ensemble:
        chosen = policy.at(steps).probs.argmax(-1)
        assert (chosen == steps["robot_action"]).double().mean() > 0.95
    assert score(steps).shape == (len(played),)


def test_miles_score_is_equation_2_of_the_learnt_networks():
    env = make_env("Counting-v0")
    method = make(MILE, env, mental_model=make_policy(env, hidden_dims=(8,)), cost=1.0, scale=2.0)
    score, observation = InterventionProbability(), torch.randn(7, 2)
    score.learn(method, chain())
    torch.testing.assert_close(score(at(observation)).float(), method.intervention_prob(at(observation)))


def test_distances():
    assert distance(torch.tensor([1, 2]), torch.tensor([1, 3])).tolist() == [0, 1]
    assert distance(torch.tensor([[0.0, 1.0]]), torch.tensor([[3.0, 5.0]])).tolist() == [25.0]
    steps = TensorDict(
        {
            "intervened": torch.tensor([True, True, True, False]),
            "robot_action": torch.zeros(4, 1),
            "human_action": torch.tensor([[1.0], [2.0], [3.0], [torch.nan]]),
            "round": torch.zeros(4, dtype=torch.int64),
        },
        [4],
    )
    assert usual_distance(steps) == 4.0
    assert usual_distance(steps[3:]) == 0.0
    demonstration = steps[:3].clone().set("round", torch.full([3], DEMONSTRATION))
    demonstration["human_action"] = demonstration["robot_action"]
    assert usual_distance(torch.cat([steps, demonstration])) == 4.0


def test_chance_is_uniform_and_says_nothing_of_what_the_human_will_decide():
    noise = torch.rand(20000, 2, generator=torch.Generator().manual_seed(0))
    step = TensorDict({"human_noise": noise}, [20000])
    chance = Chance()(step)
    assert kstest(chance.numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(chance.numpy(), noise[:, 0].numpy())[0, 1]) < 0.03
    assert torch.equal(chance, Chance()(step))
