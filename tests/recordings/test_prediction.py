import math

import pytest
import torch
from tensordict import TensorDict

from mile.recordings.prediction import as_often, learnt_from, never, prediction_metrics


def test_prediction_metrics_of_a_case_done_by_hand():
    prob = torch.tensor([0.9, 0.6, 0.2, 0.4], dtype=torch.float64)
    intervened = torch.tensor([True, False, False, False])
    metrics = prediction_metrics(prob, intervened)
    assert metrics["accuracy"] == 0.75
    assert metrics["majority_accuracy"] == 0.75
    assert metrics["auc"] == 1
    assert metrics["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["brier"] == pytest.approx((0.01 + 0.36 + 0.04 + 0.16) / 4)
    assert metrics["log_likelihood"] == pytest.approx(math.log(0.9 * 0.4 * 0.8 * 0.6) / 4)
    assert "auc" not in prediction_metrics(prob, torch.zeros(4, dtype=torch.bool))


def steps(count, seed):
    generator = torch.Generator().manual_seed(seed)
    observation = torch.randn(count, 3, generator=generator)
    return TensorDict({"observation": observation, "intervened": observation[:, 0] * observation[:, 1] > 0.3}, [count])


def test_never_is_right_where_nobody_intervened():
    new = steps(500, 1)
    share = float(new["intervened"].double().mean())
    assert prediction_metrics(never(new), new["intervened"])["accuracy"] == pytest.approx(1 - share)


def test_what_was_held_to_be_impossible_counts_100_nats():
    intervened = torch.tensor([True, False, False, False])
    prob = torch.tensor([0.0, 0.0, 1.0, 0.5], dtype=torch.float64)
    metrics = prediction_metrics(prob, intervened)
    assert metrics["log_likelihood"] == pytest.approx((-100 - 0 - 100 - math.log(2)) / 4)
    assert prediction_metrics(never(TensorDict({}, [4])), intervened)["log_likelihood"] == -25


def test_as_often_is_how_often_it_was_before():
    before = TensorDict({"intervened": torch.tensor([True, False, False])}, [3])
    assert as_often(before, TensorDict({}, [2])).tolist() == [0.4, 0.4]


def test_the_network_predicts_what_depends_on_the_state_and_only_from_earlier_rounds():
    before, new = steps(2000, 0), steps(500, 1)
    before_prob = learnt_from(before, new)
    assert prediction_metrics(before_prob, new["intervened"])["balanced_accuracy"] > 0.9
    flipped = new.clone()
    flipped["intervened"] = ~new["intervened"]
    assert torch.equal(learnt_from(before, flipped), before_prob)
    state = torch.get_rng_state()
    learnt_from(before, new, updates=1)
    assert torch.equal(state, torch.get_rng_state())  # the run's own draws do not change
