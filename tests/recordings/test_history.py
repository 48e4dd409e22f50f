"""Predictions that know ν of the steps before: by hand, by simulation, and by enumeration of all histories."""

import itertools

import pytest
import torch
from tensordict import TensorDict
from torch.distributions import Categorical, Independent, Normal

from mile.recordings import history
from mile.recordings.history import AsBefore, HistoryNetwork, InTime, WithoutMemory, free_running, online, recent
from mile.recordings.prediction import never, prediction_metrics
from mile.timing import Attempts, Delayed, Gap, Memoryless, Sticky
from mile.timing.believing import knows_nothing, stack_hypotheses
from tests.timing.people import COST, MODELS, SCALE

T = 8


def recorded(*attempts, width=3):
    """Return steps of attempts with these ν, with random observations and actions of two dimensions."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([len(intervened) for intervened in attempts])
    count = int(lengths.sum())
    robot, human = torch.randn(2, count, 2, generator=generator).clamp(-1, 1)
    intervened = torch.tensor([bool(nu) for intervened in attempts for nu in intervened])
    return TensorDict(
        {
            "observation": torch.randn(count, width, generator=generator),
            "intervened": intervened,
            "robot_action": robot,
            "executed_action": torch.where(intervened.unsqueeze(-1), human, robot),
            "episode": torch.repeat_interleave(torch.arange(len(lengths)), lengths),
            "round": torch.zeros(count, dtype=torch.int64),
            "step": torch.cat([torch.arange(int(length)) for length in lengths]),
        },
        [count],
    )


class Policies:
    """A gap that is drawn anew for each state, and known by the state's first number."""

    def __init__(self, steps, seed, hypotheses=False):
        generator = torch.Generator().manual_seed(seed)
        steps["observation"][:, 0] = torch.arange(len(steps)).float()
        self.means = torch.randn(3, len(steps), 2, dtype=torch.float64, generator=generator)
        self.hypotheses = hypotheses

    def __call__(self, steps):
        number = steps["observation"][..., 0].long()
        one, other, third = (Independent(Normal(mean, 0.8), 1) for mean in self.means[:, number])
        return Gap(one, stack_hypotheses([other, third, knows_nothing(other)]) if self.hypotheses else other, SCALE)


def test_the_last_steps_are_zero_before_an_attempts_start():
    steps = torch.tensor([[True, False, True, True]])
    assert recent(steps, 3)[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1]]


def test_the_network_sees_the_state_and_the_last_steps_of_the_same_attempt(monkeypatch):
    inputs = []

    def train(features, intervened, **options):
        inputs.append(features)
        return lambda features: inputs.append(features) or features[..., -1:]

    monkeypatch.setattr(history, "trained_network", train)
    steps = recorded([1, 1, 0], [0, 1])
    prob = online(HistoryNetwork(steps, length=2), steps)
    memory = torch.tensor([[0, 0], [1, 0], [1, 1], [0, 0], [0, 0]])
    torch.testing.assert_close(inputs[0], torch.cat([steps["observation"], memory], -1))

    # what it is asked step by step is what it was trained on
    assert [len(features[0]) for features in inputs[1:]] == [2, 2, 2]
    torch.testing.assert_close(inputs[3][0, 0], inputs[0][2])
    torch.testing.assert_close(prob, memory[:, 1].double().sigmoid())


def test_the_network_with_history_predicts_what_depends_on_the_step_before_and_not_on_later_ones():
    def sticky(seed):
        """Take over where the first number is high; go on until the second one is."""
        generator = torch.Generator().manual_seed(seed)
        attempts = []
        for _ in range(20):
            begins, ends = torch.rand(2, 40, generator=generator) < 0.1
            attempts.append(list(itertools.accumulate(zip(begins, ends, strict=True), after, initial=0))[1:])
        return recorded(*attempts)

    def after(nu, chances):
        begins, ends = chances
        return not ends if nu else begins

    earlier, steps = sticky(0), sticky(1)
    estimator = HistoryNetwork(earlier, updates=200)
    prob = online(estimator, steps)
    assert prediction_metrics(prob, steps["intervened"])["balanced_accuracy"] > 0.8

    changed = steps.clone()
    changed["intervened"][25:40] ^= True  # the end of the first attempt
    assert torch.equal(online(estimator, changed)[:26], prob[:26])
    assert torch.equal(online(estimator, changed)[40:], prob[40:])
    assert torch.equal(free_running(estimator, changed), free_running(estimator, steps))


def test_as_before_is_how_often_an_intervention_followed():
    estimator = AsBefore(recorded([0, 0, 1, 1, 1], [1, 0]))
    # after ν=0, or at the start: 0, 0, 1, 1; after ν=1: 1, 1, 0
    begins, stays = (2 + 1) / (4 + 2), (2 + 1) / (3 + 2)
    torch.testing.assert_close(estimator.shares, torch.tensor([begins, stays], dtype=torch.float64))
    prob = online(estimator, recorded([0, 1, 1], [1, 0]))
    torch.testing.assert_close(prob, torch.tensor([begins, begins, stays, begins, stays], dtype=torch.float64))

    # free-running it is a Markov chain
    expected, share = [], 0.0
    for _ in range(6):
        share = (1 - share) * begins + share * stays
        expected.append(share)
    free = free_running(estimator, recorded([0] * 6), histories=20000)
    torch.testing.assert_close(free, torch.tensor(expected, dtype=torch.float64), atol=0.005, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_free_running_is_the_sum_over_all_histories(name):
    """Histories of ν weigh as their likelihood says; of every ν in the recording nothing is known."""
    steps = recorded([0, 1, 1, 0, 0, 1, 0, 1])
    policies = Policies(steps, 1, hypotheses=name == "believing")
    free = free_running(InTime(MODELS[name], policies, COST), steps, histories=20000)

    sequences = torch.tensor(list(itertools.product([False, True], repeat=T)))
    gap = policies(steps.expand(len(sequences), T))
    actions = steps["robot_action"].expand(len(sequences), T, 2)
    attempts = Attempts(sequences, torch.ones_like(sequences), actions)
    weights = MODELS[name].log_likelihood(gap, attempts, COST).exp()
    assert float(weights.sum()) == pytest.approx(1)
    expected = (weights.unsqueeze(-1) * sequences).sum(0)
    torch.testing.assert_close(free, expected, atol=0.015, rtol=0)  # 4 standard errors at most


@pytest.mark.parametrize("name", MODELS)
def test_online_is_the_ratio_of_likelihoods_of_histories(name):
    """Attempts of several lengths, against the likelihood of the attempt so far with and without an intervention."""
    steps = recorded([0, 1, 1, 0, 0, 1], [1, 0, 1])
    policies = Policies(steps, 2, hypotheses=name == "believing")
    prob = online(InTime(MODELS[name], policies, COST), steps)

    def likelihood(begin, end, nu):
        some = steps[begin : end + 1]
        intervened = some["intervened"].clone()
        intervened[-1] = nu
        attempt = Attempts(intervened, torch.ones_like(intervened), some["executed_action"])
        return float(MODELS[name].log_likelihood(policies(some), attempt, COST).exp())

    for row in range(len(steps)):
        begin = row - int(steps["step"][row])
        present, absent = likelihood(begin, row, True), likelihood(begin, row, False)
        assert float(prob[row]) == pytest.approx(present / (present + absent), rel=1e-6)


@pytest.mark.parametrize("histories", [1, 7, 100])
def test_without_a_memory_free_running_is_online_to_the_last_bit(histories):
    steps = recorded([0, 1, 1, 0, 0], [1, 0, 1])
    policies = Policies(steps, 3)
    for estimator in (InTime(Memoryless(), policies, COST), WithoutMemory(never)):
        assert torch.equal(free_running(estimator, steps, histories), online(estimator, steps))


def test_free_running_repeats_itself_and_leaves_the_runs_own_draws_alone():
    steps = recorded([0, 1, 1, 0, 0], [1, 0, 1])
    estimator = InTime(Sticky(release_cost=-1.0), Policies(steps, 4), COST)
    state = torch.get_rng_state()
    assert torch.equal(free_running(estimator, steps), free_running(estimator, steps))
    assert not torch.equal(free_running(estimator, steps), free_running(estimator, steps, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def live(decides, stays, delay, generator):
    """Return ν of a human who decides, waits as long as the delay says, and stays in control, step by step."""
    attempts = []
    for decide, stay in zip(decides.tolist(), stays.tolist(), strict=True):
        in_control, left, intervened = False, None, []
        for one, other in zip(decide, stay, strict=True):
            chance = float(torch.rand((), generator=generator))
            if in_control:
                in_control = chance < other
            else:
                if left is None and chance < one:
                    left = int(torch.multinomial(delay, 1, generator=generator))
                elif left is not None:
                    left -= 1
                in_control = left == 0
            if in_control:
                left = None
            intervened.append(in_control)
        attempts.append(intervened)
    return attempts


@pytest.mark.parametrize("name", ["memoryless", "sticky", "delayed"])
def test_the_true_model_is_calibrated_and_a_wrong_one_predicts_worse(name):
    attempts, length = 300, 25
    steps = recorded(*[[0] * length] * attempts)
    policies = Policies(steps, 5)
    gap = policies(steps.reshape(attempts, length))
    decides, stays = (gap.log_probs(cost)[1].exp() for cost in (COST, -0.5))
    delay = MODELS["delayed"].delay().exp() if name == "delayed" else torch.ones(1)
    lives = live(decides, decides if name == "memoryless" else stays, delay, torch.Generator().manual_seed(6))
    steps["intervened"] = torch.tensor(lives).flatten()

    prob = {
        other: online(InTime(MODELS[other], policies, COST), steps) for other in ("memoryless", "sticky", "delayed")
    }
    scores = {other: prediction_metrics(prob[other], steps["intervened"])["log_likelihood"] for other in prob}
    assert max(scores, key=scores.get) == name

    # in ten bins of the prediction, ν=1 is as frequent as predicted
    bins = (prob[name] * 10).long().clamp_max(9)
    for number in bins.unique():
        predicted, actual = prob[name][bins == number], steps["intervened"][bins == number].double()
        error = (predicted * (1 - predicted)).sum().sqrt() / len(predicted)
        assert abs(actual.mean() - predicted.mean()) < 4 * error


def test_discrete_actions_are_executed_as_they_are():
    steps = recorded([0, 1, 1, 0])
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps["observation"][:, 0] = torch.arange(4).float()
    for name in ("robot_action", "executed_action"):
        steps[name] = torch.tensor([0, 2, 1, 1])

    def gap(steps):
        human = Categorical(logits=logits[steps["observation"][..., 0].long()])
        return Gap(human, stack_hypotheses([human, human, knows_nothing(human)]), SCALE)

    prob = free_running(InTime(MODELS["believing"], gap, COST), steps)
    assert ((prob > 0) & (prob < 1)).all()


def test_attempts_that_are_torn_apart_and_no_history_are_refused():
    steps = recorded([0, 1, 1, 0])
    torn = steps[torch.tensor([0, 2, 3])]
    for estimator in (AsBefore, HistoryNetwork):
        with pytest.raises(ValueError, match="whole attempts"):
            estimator(torn)
    with pytest.raises(ValueError, match="whole attempts"):
        online(InTime(Delayed(release_cost=0.0, median_delay=1.0), Policies(steps, 0), COST), torn)
    with pytest.raises(ValueError, match="at least 1 step long, got 0"):
        HistoryNetwork(steps, length=0)
