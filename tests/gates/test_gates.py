"""Gates: when they ask, when they hand back, what they spend; by hand, and in real episodes."""

import math

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.gates import AIMGate, AlwaysGate, Chance, InterventionProbability, Score, ScoreGate, ThriftyGate
from mile.humans import SimulatedHuman
from mile.methods import IWR, MILE
from tests.methods.training import make, recorded
from tests.support import EveryThird

BUDGET = 6


class First(Score):
    """The first number of the observation."""

    def __call__(self, step):
        return step["observation"][..., 0].double()


class Agreeing(ThriftyGate):
    """A gate whose scores are the two numbers of the observation, and whose thresholds are given."""

    def __init__(self, budget):
        super().__init__(budget)
        self.variance, self.risk = First(), lambda step: step["observation"][..., 1].double()
        self.new_above, self.risky_above, self.usual_risk, self.near = 0.9, 0.8, 0.5, 0.01
        self.is_ready = True


def step_of(*observation, action=0):
    return TensorDict({"observation": torch.tensor([observation]), "action": torch.tensor([action])}, [1])


def play(gate, observations, acts=None):
    """Return where a gate asks in one episode; the human does otherwise than the robot, unless `acts` says the same."""
    gate.begin()
    asked = []
    for number, observation in enumerate(observations):
        attention = gate.direct(step_of(*observation))
        assert torch.equal(attention.attended, attention.requested)
        agrees = bool(acts and acts[number])
        gate.after(attention.requested, torch.tensor([0]), torch.tensor([0 if agrees else 1]))
        asked.append(int(attention.requested))
    return asked


def gate_by_first(budget, ask_above=0.8, keep_above=0.5):
    gate = ScoreGate(budget, First())
    gate.ask_above, gate.keep_above, gate.is_ready = ask_above, keep_above, True
    return gate


def test_it_asks_above_one_threshold_and_hands_back_below_another():
    scores = [0.7, 0.9, 0.6, 0.4, 0.6, 0.95, 0.1]
    assert play(gate_by_first(100), [(score, 0.0) for score in scores]) == [0, 1, 1, 0, 0, 1, 0]


def test_it_never_spends_more_than_its_budget_and_has_a_new_one_in_the_next_episode():
    gate = gate_by_first(2)
    assert play(gate, [(0.9, 0.0)] * 5) == [1, 1, 0, 0, 0]
    assert play(gate, [(0.9, 0.0)] * 3) == [1, 1, 0]


def test_a_copy_that_begins_anew_has_a_new_budget_and_the_others_keep_theirs():
    gate, steps = gate_by_first(2), TensorDict({"observation": torch.ones(2, 1), "action": torch.zeros(2)}, [2])
    for _ in range(2):
        requested = gate.direct(steps).requested
        gate.after(requested, torch.zeros(2).long(), torch.ones(2).long())
    gate.begin(torch.tensor([True, False]))
    assert gate.direct(steps).requested.tolist() == [True, False]


def test_a_request_that_nobody_answers_costs_nothing():
    gate = gate_by_first(2)
    for _ in range(9):
        assert gate.direct(step_of(0.9, 0.0)).requested.item()
        gate.after(torch.tensor([False]), torch.tensor([0]), torch.tensor([1]))


def test_before_anything_is_learnt_the_human_decides():
    attention = AlwaysGate(5).direct(step_of(0.9, 0.0))
    assert attention.attended.item()
    assert not attention.requested.item()


def test_thrifty_asks_where_it_is_new_or_risky_and_hands_back_when_both_agree_and_the_risk_is_usual():
    observations = [(0.95, 0.1), (0.0, 0.1), (0.0, 0.9), (0.0, 0.6), (0.0, 0.4), (0.0, 0.4)]
    agrees = [True, True, True, True, False, False]
    # new; agreed, hands back; risky; agreed but above the usual risk; agreed and usual, hands back
    assert play(Agreeing(100), observations, agrees) == [1, 0, 1, 1, 0, 0]
    assert play(Agreeing(100), observations) == [1, 1, 1, 1, 1, 1]  # they never agree


def test_the_quantiles_are_those_that_the_budget_allows():
    _, steps = recorded("Counting-v0", episodes=8)
    newest = torch.cat([steps, steps.clone().set("round", steps["round"] + 1)[: len(steps) // 2]])
    last = newest[newest["round"] == 1]
    gate = ScoreGate(3, First())
    gate.learn(make(MILE, make_env("Counting-v0"), mental_model=small_policy(), cost=1.0, scale=1.0), newest)
    share = 3 * last["episode"].unique().numel() / len(last)
    scores = last["observation"][:, 0].double()
    assert gate.ask_above == pytest.approx(float(scores.quantile(1 - share)))
    assert gate.keep_above == pytest.approx(float(scores.quantile(1 - 2 * share)))
    assert gate.is_ready


def small_policy():
    return make_policy(make_env("Counting-v0"), hidden_dims=(8,))


def test_a_budget_for_all_steps_asks_always():
    _, steps = recorded("Counting-v0")
    gate = ScoreGate(1000, Chance())
    gate.learn(None, steps)
    assert gate.ask_above == -math.inf


@pytest.mark.parametrize("budget", [0, -3, 0.5, math.nan])
def test_a_budget_below_one_step_is_refused(budget):
    with pytest.raises(ValueError, match="at least 1"):
        AlwaysGate(budget)


@pytest.fixture(scope="module")
def counting():
    """A human, a robot, and what was recorded of both before a gate."""
    torch.manual_seed(0)
    human, robot = SimulatedHuman(small_policy(), small_policy(), 0.0, 0.1), small_policy()
    env = TransformedEnv(make_env("Counting-v0", num_envs=4), InterventionTransform(human))
    steps = collect_episodes(env, robot, 8, seed=3)
    method = MILE(robot, small_policy(), 0.0, 0.1)
    assert 0.2 < steps["intervened"].float().mean() < 0.8
    return human, method, steps


def gates():
    yield "mile", lambda: ScoreGate(BUDGET, InterventionProbability())
    yield "random", lambda: ScoreGate(BUDGET, Chance())
    yield "thrifty", lambda: short(ThriftyGate(BUDGET))
    yield "aim", lambda: short(AIMGate(BUDGET))
    yield "always", lambda: AlwaysGate(BUDGET)


def short(gate):
    for part in (getattr(gate, name, None) for name in ("variance", "risk", "value")):
        if hasattr(part, "updates"):
            part.updates = 20
        if hasattr(part, "members"):
            part.steps = 10
    return gate


@pytest.mark.parametrize("make_gate", [pytest.param(make_gate, id=name) for name, make_gate in gates()])
def test_an_episode_is_the_same_however_many_are_played_together(counting, make_gate):
    human, method, steps = counting
    gate = make_gate()
    gate.learn(method, steps)
    together, alone = (
        collect_episodes(
            TransformedEnv(make_env("Counting-v0", num_envs=copies), InterventionTransform(human, gate)),
            method.policy,
            6,
            seed=5,
        )
        for copies in (4, 1)
    )
    for entry in ("observation", "asked", "attended", "intervened", "human_action"):
        assert torch.equal(together[entry], alone[entry])

    # the human does what they are asked for, and nothing else; the budget holds in each episode
    assert torch.equal(together["intervened"], together["asked"])
    assert torch.equal(together["attended"], together["asked"])
    assert together["asked"].any()
    for number in range(6):
        assert together["asked"][together["episode"] == number].sum() <= BUDGET


def test_a_gate_learns_the_same_twice_and_leaves_the_runs_random_numbers_alone(counting):
    _, method, steps = counting
    before = torch.random.get_rng_state()
    first, second = short(ThriftyGate(BUDGET)), short(ThriftyGate(BUDGET))
    first.learn(method, steps)
    second.learn(method, steps)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (first.new_above, first.risky_above) == (second.new_above, second.risky_above)


def test_miles_gate_needs_a_mental_model():
    env, steps = recorded("Counting-v0")
    with pytest.raises(ValueError, match="choose method=mile"):
        ScoreGate(5, InterventionProbability()).learn(make(IWR, env), steps)


def test_a_human_who_heeds_no_request_cannot_act():
    """EveryThird takes over in every third step, whatever is asked."""
    never = gate_by_first(100, 1e9, 1e9)
    env = TransformedEnv(make_env("Counting-v0"), InterventionTransform(EveryThird(), never))
    steps = collect_episodes(env, small_policy(), 2, seed=0)
    assert not steps["asked"].any()
    assert not steps["intervened"].any()
