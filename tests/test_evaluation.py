import pytest
import torch
from scipy import stats

from mile.envs import make_env
from mile.evaluation import Evaluation, evaluate_policy
from mile.policies import load_policy
from tests.support import act_by_step


def outcome(returns, successes):
    return Evaluation(
        torch.tensor(returns), torch.tensor(successes), torch.ones(len(returns)), torch.zeros(len(returns))
    )


def test_wilson_interval_of_a_textbook_case():
    # Newcombe (1998), Table I: 81 of 263 gives 0.2553 to 0.3662
    result = outcome([0.0] * 263, [True] * 81 + [False] * 182)
    assert result.interval(metric="success") == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_return_interval_covers_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    samples = 3 + 2 * torch.randn(1000, 8, generator=generator)
    covered = 0
    for row in samples:
        low, high = outcome(row.tolist(), [True] * 8).interval(0.9)
        covered += low < 3 < high
    assert stats.binomtest(covered, 1000, 0.9).pvalue > 0.001


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="'return' or 'success', got 'luck'"):
        outcome([1.0], [True]).interval(metric="luck")


def test_returns_successes_and_lengths_of_known_episodes():
    result = evaluate_policy(make_env("Counting-v0", 3), act_by_step, 6, seed=0)
    lengths = result.lengths.tolist()
    assert result.returns.tolist() == [length // 2 for length in lengths]  # actions 0, 1, 0, 1, …
    assert result.successes.tolist() == [length % 2 == 0 for length in lengths]
    assert result.mean_return == pytest.approx(sum(length // 2 for length in lengths) / 6)


def test_the_same_evaluation_twice_is_the_same_to_the_last_step():
    env, policy = make_env("lunarlander", 4), load_policy("lunarlander/expert")
    first, second = (evaluate_policy(env, policy, 6, seed=5, deterministic=False) for _ in range(2))
    assert torch.equal(first.returns, second.returns)
    assert torch.equal(first.lengths, second.lengths)
