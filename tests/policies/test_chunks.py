"""Chunks of actions: densities against integration and enumeration, p(ν) against sampling, and never a stale action."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensordict import TensorDict
from torch.special import ndtr
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.commands import data
from mile.datamodules import InterventionBuffer
from mile.envs import InterventionTransform, make_env, make_policy
from mile.envs.players import MultiProcess
from mile.hardware.simulated.bench import SimulatedBench
from mile.humans import Decision, Human, Person
from mile.ingredients.demonstrations import clone_demonstrations
from mile.ingredients.starts import untrained_like
from mile.methods import MILE, HGDAgger
from mile.policies import (
    CategoricalPolicy,
    ChunkPolicy,
    FlowMatchingPolicy,
    GaussianPolicy,
    MixturePolicy,
    load_policy,
    save_policy,
)
from mile.policies.queue import ActionQueue
from mile.timing.chunk_gap import ChunkGap
from mile.transitions import next_actions

KINDS = [GaussianPolicy, MixturePolicy, CategoricalPolicy]
COST, SCALE = 0.5, 1.5
NAN = float("nan")


def policy(kind, action_dim=1, chunk=3, execute=2, seed=0):
    torch.manual_seed(seed)
    return ChunkPolicy.like(kind(2, action_dim, (16,)), chunk, execute).double().requires_grad_(False)


def states(count=4):
    return 2 * torch.randn(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# densities


@pytest.mark.parametrize("kind", [GaussianPolicy, MixturePolicy])
def test_what_is_not_there_is_integrated_out(kind):
    chunk = policy(kind, chunk=2)(states(3))
    line = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    second = torch.stack([torch.full_like(line, 0.3), line], -1).reshape(-1, 1, 2, 1).expand(-1, 3, -1, -1)
    integral = chunk.log_prob(second).exp().sum(0) * float(line[1] - line[0])
    first = torch.tensor([0.3, NAN], dtype=torch.float64).reshape(1, 2, 1).expand(3, -1, -1)
    torch.testing.assert_close(chunk.log_prob(first).exp(), integral)
    torch.testing.assert_close(chunk.prefix(1).log_prob(first[:, 0]).exp(), integral)


def test_the_sequences_of_discrete_actions_are_all_there_is():
    chunk = policy(CategoricalPolicy, action_dim=3)(states())
    pairs = torch.tensor(list(itertools.product(range(3), range(3))))
    missing = torch.cat([pairs, torch.full((9, 1), -1)], -1)  # the third action is not there
    enumerated = torch.stack([chunk.log_prob(pair.expand(4, -1)) for pair in missing], -1)
    torch.testing.assert_close(enumerated, chunk.prefix(2).logits)
    torch.testing.assert_close(enumerated.exp().sum(-1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_of_one_is_a_single_action(kind):
    single = kind(2, 3, (16,)).double()
    chunk = ChunkPolicy.like(single, 1, 1).double()
    chunk.network.network.load_state_dict(single.network.state_dict())
    one, other = chunk(states()), single(states())
    action = other.sample()
    torch.testing.assert_close(one.log_prob(action.unsqueeze(1)), other.log_prob(action))
    torch.testing.assert_close(one.prefix(1).log_prob(action), other.log_prob(action))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_has_the_chunk(tmp_path, kind):
    saved = policy(kind, action_dim=2)
    path = save_policy(saved, tmp_path / "policy", environment="CountingBox-v0")
    loaded = load_policy(path).double()
    assert (loaded.chunk, loaded.execute) == (3, 2)
    torch.testing.assert_close(loaded.act(states()), saved.act(states()), atol=1e-5, rtol=0)


# p(ν=1)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(GaussianPolicy, 8e-3), (CategoricalPolicy, 8e-3), (MixturePolicy, 0.025)]
)
def test_p_of_an_intervention_is_that_of_what_is_still_to_come(kind, tolerance):
    human, robot = policy(kind, 2, 4, 3), policy(kind, 2, 4, 3, seed=1)
    remaining = torch.tensor([2, 1, 3, 2])
    _, log_intervene = ChunkGap(human(states()), robot(states()), SCALE, remaining).log_probs(COST)

    # by the definition, with many samples
    torch.manual_seed(0)
    for row, count in enumerate(remaining.tolist()):
        own, expected = human(states()[row]), robot(states()[row])
        samples = []
        for chunk in (own, expected):
            action = chunk.sample([50_000])
            gone = NAN if action.is_floating_point() else -1
            action[:, count:] = gone
            samples.append(own.log_prob(action))
        gap = samples[0] - samples[1].mean()
        truth = ndtr((gap - count * COST) / SCALE).mean()
        assert float(log_intervene[row].exp()) == pytest.approx(float(truth), abs=tolerance)


@pytest.mark.parametrize("intervened", [True, False])
def test_the_likelihood_is_that_of_the_observed_decision(intervened):
    human, robot = policy(GaussianPolicy)(states()), policy(GaussianPolicy, seed=1)(states())
    gap = ChunkGap(human, robot, SCALE, torch.tensor([2, 1, 1, 2]))
    likelihood = gap.log_likelihood(torch.full((4,), intervened), COST)
    torch.testing.assert_close(likelihood, gap.log_probs(COST)[intervened])


# what is served


def test_actions_are_served_while_the_same_one_acts():
    steps = TensorDict(
        {"step": torch.tensor([0, 1, 2, 3, 0, 1]), "intervened": torch.tensor([0, 1, 1, 0, 0, 0]).bool()}, [6]
    )
    action = torch.arange(6.0).unsqueeze(-1)
    served = next_actions(action, steps, torch.arange(6), 3).squeeze(-1)
    wanted = [[0, NAN, NAN], [1, 2, NAN], [2, NAN, NAN], [3, NAN, NAN], [4, 5, NAN], [5, NAN, NAN]]
    torch.testing.assert_close(served, torch.tensor(wanted), equal_nan=True)
    discrete = next_actions(torch.arange(6), steps, torch.tensor([1, 5]), 3)
    assert discrete.tolist() == [[1, 2, -1], [5, -1, -1]]


@pytest.mark.parametrize("kind", [MILE, HGDAgger])
def test_a_method_learns_chunks_of_one_as_single_actions(kind):
    torch.manual_seed(0)
    single = GaussianPolicy(2, 1, (16,))
    chunk = ChunkPolicy.like(single, 1, 1)
    chunk.network.network.load_state_dict(single.network.state_dict())
    more = [{}, {}]
    if kind is MILE:
        models = [single, chunk]
        more = [{"mental_model": model, "cost": COST, "scale": SCALE} for model in models]
    steps = TensorDict(
        {
            "observation": states(8).float(),
            "robot_action": torch.zeros(8, 1),
            "human_action": torch.where(torch.arange(8) % 2 == 0, 0.5, NAN).unsqueeze(-1),
            "intervened": torch.arange(8) % 2 == 0,
        },
        [8],
    )
    windowed = steps.clone()
    for name in ("robot_action", "human_action"):
        windowed[name] = steps[name].unsqueeze(1)
    one, other = kind(single, **more[0]).loss(steps).loss, kind(chunk, **more[1]).loss(windowed).loss
    torch.testing.assert_close(one, other)


# the queue


class Clock(ChunkPolicy):
    """Decides on actions that say when they were decided on, and in which place of the chunk they are."""

    def act(self, *inputs, noise=None, deterministic=True):
        now = inputs[0][:, :1]
        return torch.stack([now + torch.arange(self.chunk), now.expand(-1, self.chunk)], -1)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_nothing_is_executed_that_was_decided_before_a_hand_over(course, execute, more):
    clock = Clock.like(GaussianPolicy(1, 2, (4,)), execute + more, execute)
    queue = ActionQueue(clock)
    newest = torch.zeros(2, dtype=torch.int64)  # the first step after the last hand-over, in each copy
    episodes = torch.zeros(2, dtype=torch.int64)
    for now, (first, second, ends) in enumerate(course):
        interrupted = torch.tensor([first, second]) & (now > 0)
        if ends:
            episodes = episodes + torch.tensor([1, 0])
            newest[0] = now
        newest[interrupted] = now
        observation = torch.full((2, 1), float(now))
        step = TensorDict({"observation": observation, "episode": episodes, "intervened": interrupted}, [2])
        action, remaining = queue(step)
        due, decided = action.unbind(-1)
        assert (due == now).all()  # in its place
        assert (decided >= newest).all()
        assert (now - decided < execute).all()
        assert torch.equal(remaining, (execute - (now - decided)).long())


class Now(Human):
    """Takes over at random, for a step or more."""

    def __init__(self, env):
        self.action_spec = env.action_spec

    def decide(self, step):
        intervened = torch.rand(self.action_spec.shape[:1] if self.action_spec.ndim else ()) < 0.3
        prob = torch.full_like(intervened, 0.3, dtype=torch.float32)
        return Decision(intervened, self.action_spec.rand(), prob)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lunarlander", {"num_envs": 2}),
        ("lunarlander", {"num_envs": 2, "continuous": True}),
        ("drawer_open", {"num_envs": 2, "max_episode_steps": 60}),
        ("widowx_peg", {"max_episode_steps": 20, "bench": SimulatedBench}),
    ],
)
def test_a_robot_looks_again_after_every_hand_over(name, options):
    env = make_env(name, **options)
    torch.manual_seed(0)
    robot = make_policy(env, hidden_dims=(16,), chunk=8, execute=4)
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(Now(env))), robot, 2, seed=3)
    chunks = robot.double().act(*robot.inputs(steps)).to(steps["robot_action"].dtype)

    handed_over = torch.cat([torch.tensor([True]), steps["intervened"][:-1]]) | (steps["step"] == 0)
    assert handed_over.sum() > 4
    assert (steps["remaining"][handed_over] == 4).all()
    place = 4 - steps["remaining"]
    decided = torch.arange(len(steps)) - place
    for row, (start, number) in enumerate(zip(decided.tolist(), place.tolist(), strict=True)):
        assert not handed_over[start + 1 : row + 1].any()
        torch.testing.assert_close(steps["robot_action"][row], chunks[start, number])
    env.close()


# recorded


def test_worker_processes_record_what_is_still_to_come():
    """After a robot of single actions has played there, too."""
    workers = make_env("two_ways", num_envs=2, collector=MultiProcess(1))
    single, chunks = make_policy(workers, hidden_dims=(8,)), make_policy(workers, hidden_dims=(8,), chunk=3, execute=2)
    try:
        assert "remaining" not in collect_episodes(workers, single, 2, seed=3).keys()
        there = collect_episodes(workers, chunks, 3, seed=3)
    finally:
        workers.close()
    here = collect_episodes(make_env("two_ways", num_envs=2), chunks, 3, seed=3)
    assert torch.equal(there["remaining"], here["remaining"])
    assert torch.equal(there["robot_action"], here["robot_action"])


@pytest.mark.parametrize("format_", ["minari", "robomimic", "lerobot"])
def test_what_is_still_to_come_is_exported_and_comes_back(tmp_path, monkeypatch, format_):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    env = make_env("CountingBox-v0", num_envs=2)
    buffer = InterventionBuffer(tmp_path / "buffer", "CountingBox-v0")
    robot = make_policy(env, hidden_dims=(8,), chunk=3, execute=2)
    collect_episodes(env, robot, 2, seed=0, on_episode=buffer.append)
    target = "mile/chunks-v0" if format_ == "minari" else str(tmp_path / "data.out")
    data.export(tmp_path / "buffer", format_, target)
    back = data.import_episodes(target, format_, "CountingBox-v0", tmp_path / "back")
    assert torch.equal(back.steps["remaining"][back.rows()], buffer.steps["remaining"][buffer.rows()])


def test_a_person_is_predicted_with_what_is_still_to_come(tmp_path):
    """A console's prediction is the method's own."""
    heard = []
    step = TensorDict({"observation": torch.zeros(1, 2), "remaining": torch.tensor([3])}, [1])
    person = SimpleNamespace(in_keys=("observation",), predict=lambda step: heard.append(step) or torch.zeros(1))
    person._attend = lambda step: None
    person.keymap, person._action = None, lambda controls, count, keymap: torch.zeros(count)
    Person.decide(person, step)
    assert heard[0]["remaining"].tolist() == [3]


def test_demonstrations_are_cloned_in_chunks():
    env = make_env("two_ways", num_envs=2)
    student = make_policy(env, hidden_dims=(64,), chunk=3)
    shown = collect_demonstrations(env, num_episodes=4)
    clone_demonstrations(env, lambda _: shown, student, steps=1000, seed=0)
    cloned = student.act(*student.inputs(shown))[:, 0]  # at first near 0
    torch.testing.assert_close(cloned, shown["human_action"], atol=0.1, rtol=0)


def collect_demonstrations(env, num_episodes):
    torch.manual_seed(0)
    steps = collect_episodes(env, make_policy(env, hidden_dims=(8,)), num_episodes, seed=0)
    return steps.set("human_action", torch.full_like(steps["robot_action"], 0.8))


# bad input


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: policy(GaussianPolicy, 1, 3, 4), "execute .* at most chunk=3, got 4"),
        (lambda: policy(GaussianPolicy, 1, 0, 1), r"chunk \(actions\) must be at least 1, got 0"),
        (lambda: make_policy(make_env("two_ways"), head="flow", chunk=4), "a FlowPolicy has none; choose policy.head"),
        (lambda: make_policy(make_env("two_ways"), chunk=11), "11 actions is longer than an episode of at most 10"),
        (
            lambda: MILE(policy(GaussianPolicy), GaussianPolicy(2, 1, (4,)), COST, SCALE),
            "must expect the 2 actions that the robot executes, got a GaussianPolicy",
        ),
        (
            lambda: MILE(policy(CategoricalPolicy, 9, 4, 4), policy(CategoricalPolicy, 9, 4, 4), COST, SCALE),
            "4 of 9 discrete actions make 6561 sequences.*policy.execute=3 or less",
        ),
        (
            lambda: MILE(policy(GaussianPolicy), policy(GaussianPolicy), COST, SCALE, likelihood="joint"),
            "needs likelihood=product",
        ),
        (
            lambda: MILE(GaussianPolicy(2, 1, (4,)), policy(GaussianPolicy), COST, SCALE),
            "expects chunks, and the policy decides on single actions",
        ),
        (
            lambda: MILE(GaussianPolicy(2, 1, (4,)), FlowMatchingPolicy(2, 1, (4,)), COST, SCALE),
            "a mental model needs a density, and a FlowMatchingPolicy has none",
        ),
        (lambda: policy(GaussianPolicy)(states()).prefix(4), r"a chunk has 1 to 3; choose policy\.chunk=4 or more"),
        (lambda: policy(GaussianPolicy)(states()).log_prob(torch.zeros(4, 1, 1)), "data.chunk must be policy.chunk"),
        (lambda: untrained_like(make_env("two_ways"), policy(GaussianPolicy)), "choose another policy.name"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(build, message):
    with pytest.raises(ValueError, match=message):
        build()
