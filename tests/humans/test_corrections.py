"""Corrections without an action: what is executed, recorded and learnt where a human stops a robot or says where to."""

import pytest
import torch
from tensordict import TensorDict
from torch.distributions import Categorical, Independent, Normal
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer, InterventionDataModule
from mile.datamodules.buffer import BufferError
from mile.datamodules.exchange.lerobot import read_lerobot
from mile.datamodules.exchange.lerobot_writer import write_lerobot
from mile.datamodules.exchange.robomimic import read_robomimic, write_robomimic
from mile.datamodules.recorded import check_recorded, corrects
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import Decision, Human, Person, SimulatedHuman
from mile.humans.corrections import STEP, corrected, direction_to
from mile.humans.keymaps import keymap_for
from mile.losses import direction_nll
from mile.methods import IWR, MILE, HGDAgger
from mile.running.checks import check
from mile.timing import Believing
from mile.train import train
from mile.transitions import TransitionError, acted, check_transitions, directed
from tests.humans.script import Script
from tests.support import composed, smoke

SAMPLES = 1_000_000


def gaussian(mean, std):
    return Independent(Normal(torch.tensor(mean), torch.tensor(std)), 1)


# what is learnt of a direction


@pytest.mark.parametrize(
    ("mean", "std", "action", "direction"),
    [
        ([0.2, -0.4], [0.5, 0.1], [0.0, 0.0], [1.0, 0.0]),
        ([0.2, -0.4], [0.5, 0.1], [0.3, 0.2], [0.6, -0.8]),
        ([0.0, 0.0, 1.0], [1.0, 2.0, 0.5], [0.5, 0.5, 0.5], [0.48, 0.6, 0.64]),
    ],
)
def test_a_directions_probability_is_that_of_a_million_samples(mean, std, action, direction):
    policy, action, direction = gaussian(mean, std), torch.tensor(action), torch.tensor(direction)
    torch.manual_seed(0)
    samples = policy.sample((SAMPLES,))
    share = ((samples - action) @ direction > 0).double().mean()
    error = (share * (1 - share) / SAMPLES).sqrt()
    assert abs(torch.exp(-direction_nll(policy, action, direction)) - share) < 4 * error


def test_gradients_are_finite_far_away_along_nothing_and_where_nobody_said_anything():
    mean = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 0.0]], requires_grad=True)
    policy = Independent(Normal(mean, torch.full_like(mean, 0.1)), 1)
    direction = torch.tensor([[torch.nan, torch.nan], [-1.0, 0.0], [0.0, 0.0]])
    loss = direction_nll(policy, torch.zeros(3, 2), direction)
    loss[1:].sum().backward()
    assert loss.isfinite().all()
    assert mean.grad.isfinite().all()
    assert mean.grad[1, 0] > 0  # the mean should move back


def test_other_distributions_are_refused():
    with pytest.raises(ValueError, match=r"by a diagonal Gaussian, got Categorical distribution; choose policy.head"):
        direction_nll(Categorical(logits=torch.zeros(3)), torch.zeros(2), torch.ones(2))


# what a direction is


def test_directions_by_hand():
    wanted, expected = torch.tensor([0.5, -0.9, 0.0]), torch.tensor([0.2, -0.5, 0.0])
    assert direction_to(wanted, expected, "takeover") is None
    torch.testing.assert_close(direction_to(wanted, expected, "nudge"), torch.tensor([0.6, -0.8, 0.0]))
    torch.testing.assert_close(direction_to(wanted, expected, "words"), torch.tensor([0.0, -1.0, 0.0]))
    for kind in ("stop", "nudge", "words"):
        same = wanted if kind == "stop" else expected
        assert direction_to(same, expected, kind).isnan().all()


def test_what_a_corrected_robot_executes():
    action = torch.tensor([[0.1, 0.2], [0.1, 0.2]])
    direction = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])
    torch.testing.assert_close(corrected(action, direction), torch.tensor([[0.1 + STEP, 0.2], [0.0, 0.0]]))


# what is recorded


class Says(Human):
    """A human who corrects in every third step, along the first part of the action."""

    def __init__(self, corrections):
        self.corrections = corrections

    def decide(self, step):
        intervened = step["observation"][..., 1] % 3 == 2
        wanted = torch.tensor([1.0, 0.5]).expand(*intervened.shape, 2)
        return Decision(
            intervened, wanted, intervened.float(), direction_to(wanted, torch.zeros_like(wanted), self.corrections)
        )


def recorded(corrections, episodes=4):
    env = TransformedEnv(make_env("CountingBox-v0", num_envs=2), InterventionTransform(Says(corrections)))
    return collect_episodes(env, make_policy(env, hidden_dims=(8,)), episodes, seed=0)


@pytest.mark.parametrize("corrections", ["takeover", "nudge", "stop", "words"])
def test_a_recording_says_what_was_corrected_and_comes_back(tmp_path, corrections):
    steps = check_transitions(recorded(corrections))
    nu = steps["intervened"]
    assert nu.any()
    assert torch.equal(acted(steps["human_action"]), nu & (corrections == "takeover"))
    assert torch.equal(directed(steps), nu & (corrections in ("nudge", "words")))
    expected = {
        "takeover": steps["human_action"],
        "stop": torch.zeros_like(steps["robot_action"]),
        "nudge": steps["robot_action"] + STEP * torch.nn.functional.normalize(torch.tensor([1.0, 0.5]), dim=0),
        "words": steps["robot_action"] + STEP * torch.tensor([1.0, 0.0]),
    }[corrections].clamp(-1, 1)
    torch.testing.assert_close(steps["executed_action"][nu], expected[nu])
    torch.testing.assert_close(steps["executed_action"][~nu], steps["robot_action"][~nu].clamp(-1, 1))

    # there and back
    buffer = InterventionBuffer(tmp_path / "buffer", "CountingBox-v0")
    for number in range(4):
        buffer.append(steps[steps["episode"] == number])
    write_robomimic(buffer, tmp_path / "people.hdf5")
    write_lerobot(buffer, tmp_path / "people")
    for back in (torch.cat(list(reader(path))) for reader, path in ((read_robomimic, tmp_path / "people.hdf5"),)):
        check_transitions(back)
        for key in ("direction", "human_action", "intervened", "executed_action"):
            if key in steps.keys():
                torch.testing.assert_close(back[key], steps[key], equal_nan=True)
    back = torch.cat(list(read_lerobot(tmp_path / "people")))
    assert torch.equal(back["intervened"], nu)


def test_contradictions_are_refused():
    steps = recorded("words")
    first = int(steps["intervened"].nonzero()[0])
    for key, row in (("human_action", first), ("direction", 0), ("human_action", 0)):
        wrong = steps.clone()
        wrong[key][row] = 0.5
        with pytest.raises(TransitionError, match="'human_action' or 'direction' may be given where 'intervened'"):
            check_transitions(wrong)


def test_a_simulated_human_points_from_what_they_expect_to_what_they_would_do():
    env = make_env("CountingBox-v0")
    torch.manual_seed(0)
    expert, expected = make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,))
    human = SimulatedHuman(expert, expected, cost=-100.0, scale=1.0, corrections="nudge")
    step = TensorDict({"observation": torch.rand(5, 2), "human_noise": torch.rand(5, 3)}, [5])
    decision = human.decide(step)
    difference = decision.action - human.mental_model.at(step.double()).mean
    torch.testing.assert_close(decision.direction, torch.nn.functional.normalize(difference, dim=-1))
    assert decision.intervened.all()


@pytest.mark.parametrize("copies", [1, 5])
def test_a_human_who_believes_points_from_what_they_believe_in(copies):
    """Of three hypotheses they believe almost surely in the first, the mental model."""
    env = make_env("CountingBox-v0")
    torch.manual_seed(0)
    expert, expected = make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,))
    timing = Believing(-101.0, prior=(1 - 2e-9, 1e-9, 1e-9))
    human = SimulatedHuman(expert, expected, cost=-100.0, scale=1.0, timing=timing, corrections="nudge")
    step = TensorDict({"observation": torch.rand(copies, 2), "human_noise": torch.rand(copies, 3)}, [copies])
    decision = human.decide(step)
    difference = decision.action - human.mental_model.at(step.double()).mean
    torch.testing.assert_close(decision.direction, torch.nn.functional.normalize(difference, dim=-1))


@pytest.mark.parametrize("corrections", ["nudge", "words", "stop"])
def test_a_persons_keys_are_directions_and_the_space_bar_stops(corrections):
    env = make_env("CountingBox-v0", render_mode="rgb_array")
    console = Script(controls=[(), ("ArrowRight",), ("ArrowRight", "ArrowUp"), ("Space",), ()])
    keymap = keymap_for(env.name, env.action_spec_unbatched)
    person = Person(console, env.render, keymap, rate=1000, corrections=corrections)
    env = TransformedEnv(env, InterventionTransform(person))
    steps = collect_episodes(env, make_policy(env, hidden_dims=(8,)), 1, seed=0)
    assert steps["intervened"][:5].tolist() == [False, True, True, True, False]
    assert steps["direction"][3].isnan().all()
    assert (steps["executed_action"][3] == 0).all()
    if corrections != "stop":
        assert steps["direction"][1].tolist() == [1.0, 0.0]
        both = [0.5**0.5, 0.5**0.5] if corrections == "nudge" else [1.0, 0.0]
        assert steps["direction"][2].tolist() == pytest.approx(both)


# what is learnt


def batch_of(corrections):
    steps = recorded(corrections)
    return steps.set("context", TensorDict({}, steps.batch_size))


@pytest.mark.parametrize("corrections", ["stop", "words"])
def test_mile_learns_when_from_both_and_which_way_from_a_direction(corrections):
    env = make_env("CountingBox-v0")
    torch.manual_seed(0)
    policy, mental_model = make_policy(env, hidden_dims=(16,)), make_policy(env, hidden_dims=(16,))
    mile = MILE(policy, mental_model, cost=1.0, scale=1.0)
    steps = batch_of(corrections)
    terms = mile.loss(steps)
    said = directed(steps)
    if corrections == "stop":
        assert terms.policy_loss == 0
    else:
        by_hand = direction_nll(policy.at(steps), steps["robot_action"], steps["direction"])[said].mean()
        torch.testing.assert_close(terms.policy_loss, by_hand)
    terms.loss.backward()
    gradients = [parameter.grad for parameter in mile.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_mile_moves_the_policy_where_it_was_told_to():
    env = make_env("CountingBox-v0")
    torch.manual_seed(0)
    policy, mental_model = make_policy(env, hidden_dims=(16,)), make_policy(env, hidden_dims=(16,))
    mile = MILE(policy, mental_model, cost=1.0, scale=1.0, intervention_weight=0.0)
    steps = batch_of("words")
    said = directed(steps)
    optimizer = torch.optim.Adam(mile.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        mile.loss(steps).loss.backward()
        optimizer.step()
    moved = policy.at(steps).mean - steps["robot_action"]
    assert (moved[said][:, 0] > 0).all()


@pytest.mark.parametrize(("method", "leaves_out"), [(HGDAgger, True), (IWR, True), (MILE, False)])
def test_who_needs_an_action_is_not_served_corrections(tmp_path, method, leaves_out):
    env = make_env("CountingBox-v0")
    data = InterventionDataModule(tmp_path / "buffer", env.name, batch_size=16)
    steps = recorded("words")
    for number in range(4):
        data.buffer.append(steps[steps["episode"] == number])
    policies = (make_policy(env), make_policy(env)) if method is MILE else (make_policy(env),)
    module = method(*policies, **({"cost": 1.0, "scale": 1.0} if method is MILE else {}))
    data.trainer = type("Trainer", (), {"lightning_module": module, "global_rank": 0, "world_size": 1})()
    served = [bool(batch["intervened"].any()) for batch in data.batches()]
    assert any(served) != leaves_out


# what is refused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=iwr"], "human.corrections=words shows no actions, and IWR learns from nothing else; choose method="),
        (["method.likelihood=joint"], "human.corrections=words needs method.likelihood=product, got joint"),
        (["gate=random", "callbacks.deployment.num_rounds=2"], "choose gate=human and one robot with human.correc"),
        (["policy.head=mixture"], "human.corrections=words needs policy.head=gaussian, got mixture"),
        (["policy.chunk=4"], "corrects single actions, and policy.chunk=4 decides on several"),
    ],
)
def test_what_learns_nothing_from_words_is_refused_at_once(overrides, message):
    cfg = composed("train", "experiment=drawer_open", "human.corrections=words", "output_dir=out", *overrides)
    with pytest.raises(ValueError, match=message):
        check(cfg)


def test_corrections_of_no_kind_and_of_discrete_actions_are_refused():
    with pytest.raises(ValueError, match="must be one of takeover, nudge, stop, words, got 'shout'"):
        check(composed("train", "experiment=drawer_open", "human.corrections=shout", "output_dir=out"))
    policy = make_policy(make_env("Counting-v0"))
    with pytest.raises(ValueError, match=r"human.corrections=words needs continuous actions"):
        SimulatedHuman(policy, policy, cost=1.0, scale=1.0, corrections="words")


# what a reviewer found


def test_a_human_who_is_seated_later_corrects_too():
    transform = InterventionTransform(None)
    env = TransformedEnv(make_env("CountingBox-v0", num_envs=2), transform)
    transform.human = Says("stop")
    steps = collect_episodes(env, make_policy(env, hidden_dims=(8,)), 2, seed=0)
    assert (steps["executed_action"][steps["intervened"]] == 0).all()
    assert not acted(steps["human_action"]).any()


def test_corrections_are_not_added_to_a_recording_that_has_no_place_for_them(tmp_path):
    buffer = InterventionBuffer(tmp_path / "buffer", "CountingBox-v0")
    buffer.append(recorded("takeover", 1))
    steps = recorded("nudge", 1)
    with pytest.raises(BufferError, match="was begun without corrections as these steps have; choose another folder"):
        buffer.append(steps.set("round", steps["round"] + 1))
    assert len(buffer.episodes) == 1


@pytest.mark.parametrize(("method", "corrections"), [(HGDAgger, "nudge"), (IWR, "stop")])
def test_a_recording_of_corrections_alone_is_refused_by_who_clones(tmp_path, method, corrections):
    buffer = InterventionBuffer(tmp_path / "buffer", "CountingBox-v0")
    buffer.append(recorded(corrections, 1))
    with pytest.raises(ValueError, match=rf"{method.__name__} learns from what the human did, and the recording has"):
        check_recorded(buffer, method)
    check_recorded(buffer, MILE)
    assert corrects(buffer)


@pytest.mark.filterwarnings("ignore:MILE learns from deployments alone", "ignore:no interventions in round")
@pytest.mark.parametrize("demonstrations", [0, 1])
def test_a_run_learns_from_corrections_beside_demonstrations(tmp_path, demonstrations):
    overrides = ["experiment=drawer_open", "human.corrections=nudge", f"demonstrations={demonstrations}"]
    assert "learnt policy" in train(smoke(tmp_path, *overrides))
    steps = InterventionBuffer(tmp_path / "buffer", "drawer_open").steps
    deployed = steps["round"] >= 0
    assert torch.equal(directed(steps), steps["intervened"] & deployed)
    assert torch.equal(acted(steps["human_action"]), steps["intervened"] & ~deployed)
