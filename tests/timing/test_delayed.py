"""The likelihoods of delayed and of sticky takeovers, against the hidden process itself."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, lognorm
from torch.special import log_ndtr

from mile.timing import Delayed, decided_probs, delayed_log_likelihood, sticky_log_likelihood
from mile.timing.delayed import log_normal_delay
from tests.timing.hidden import enumerated, forward_backward, sampled

DELAYS = {0: [1.0], 1: [0.3, 0.7], 3: [0.1, 0.4, 0.2, 0.3]}
WITH_GAPS = [0.0, 0.6, 0.0, 0.4]


def random_probs(length, seed):
    """Return h and r of one attempt, `[length]` each."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 0.95, length), rng.uniform(0.05, 0.95, length)


def random_delay(longest, seed=0):
    """Return q(0..longest)."""
    return np.random.default_rng(seed).dirichlet(np.ones(longest + 1))


def pair(probs, *batch):
    """Return (ln(1 − p), ln p), each `[*batch, T]`."""
    probs = torch.as_tensor(np.asarray(probs))
    probs = probs.expand(*batch, *probs.shape)
    return (1 - probs).log(), probs.log()


def log(delay):
    return torch.tensor(np.asarray(delay)).log()


def every_sequence(length):
    """Return all sequences of ν, `[2^length, length]`."""
    return torch.tensor(list(itertools.product([False, True], repeat=length)))


# against the hidden process


@pytest.mark.parametrize("delay", [*DELAYS.values(), WITH_GAPS, list(random_delay(9))])
def test_all_hidden_courses_of_six_steps_add_up_to_the_likelihood_and_to_what_had_been_decided(delay):
    onset, release = random_probs(6, seed=len(delay))
    probs, posteriors = enumerated(onset, release, delay)
    sequences = every_sequence(6)
    pairs = pair(onset, len(sequences)), pair(release, len(sequences))
    likelihood = delayed_log_likelihood(*pairs, log(delay), sequences).exp()
    pending = decided_probs(*pairs, log(delay), sequences)
    for sequence, prob, posterior in zip(sequences.int().tolist(), likelihood, pending, strict=True):
        assert prob.item() == pytest.approx(probs.get(tuple(sequence), 0.0), rel=1e-10, abs=1e-14)
        truth = posteriors.get(tuple(sequence), np.zeros(6))
        np.testing.assert_allclose(posterior.numpy(), truth, atol=1e-10)


@pytest.mark.parametrize("longest", [0, 1, 5, 40])
def test_a_chain_of_hidden_states_has_the_same_likelihood_and_the_same_posterior(longest):
    batch, length = 30, 25
    rng = np.random.default_rng(longest)
    onset, release = rng.uniform(0.01, 0.6, (batch, length)), rng.uniform(0.1, 0.95, (batch, length))
    delay, intervened = random_delay(longest), rng.random((batch, length)) < 0.3
    nu = torch.tensor(intervened)
    likelihood = delayed_log_likelihood(pair(onset), pair(release), log(delay), nu)
    pending = decided_probs(pair(onset), pair(release), log(delay), nu)
    for i in range(batch):
        truth, posterior = forward_backward(onset[i], release[i], delay, intervened[i])
        assert likelihood[i].item() == pytest.approx(math.log(truth), rel=1e-10)
        np.testing.assert_allclose(pending[i].numpy(), posterior, atol=1e-10)


@pytest.mark.parametrize("longest", [0, 1, 3, 12])
def test_all_sequences_of_ten_steps_add_up_to_one(longest):
    onset, release = random_probs(10, seed=longest)
    sequences = every_sequence(10)
    pairs = pair(onset, len(sequences)), pair(release, len(sequences))
    total = delayed_log_likelihood(*pairs, log(random_delay(longest)), sequences).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)
    assert sticky_log_likelihood(*pairs, sequences).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("delay", [*DELAYS.values(), WITH_GAPS])
def test_a_million_simulated_attempts_are_as_frequent_as_the_likelihood_says(delay):
    attempts = 10**6
    onset, release = random_probs(6, seed=7)
    nus = sampled(onset, release, delay, attempts, np.random.default_rng(0))
    counts = np.bincount(nus @ (1 << np.arange(5, -1, -1)), minlength=64)
    sequences = every_sequence(6)
    likelihood = delayed_log_likelihood(pair(onset, 64), pair(release, 64), log(delay), sequences).exp().numpy()
    possible = likelihood > 0
    assert counts[~possible].sum() == 0
    assert chisquare(counts[possible], likelihood[possible] * attempts).pvalue > 1e-3


def test_sticky_is_delayed_without_a_delay():
    onset, release = random_probs(10, seed=3)
    pairs = pair(onset, 1024), pair(release, 1024)
    sticky = sticky_log_likelihood(*pairs, every_sequence(10))
    torch.testing.assert_close(delayed_log_likelihood(*pairs, log([1.0]), every_sequence(10)), sticky)
    assert torch.equal(decided_probs(*pairs, log([1.0]), every_sequence(10)), torch.zeros(1024, 10).double())


def test_sticky_by_hand():
    onset, release, nu = [0.2, 0.3, 0.4, 0.5], [0.9, 0.8, 0.7, 0.6], torch.tensor([False, True, True, False])
    likelihood = sticky_log_likelihood(pair(onset), pair(release), nu)
    assert likelihood.item() == pytest.approx(math.log(0.8 * 0.3 * 0.7 * 0.4))


# what is impossible, and what is certain


def test_impossible_attempts_have_no_gradient_and_spoil_no_others():
    """Delays of 1 and of 3 steps: nobody takes over in the first step, nor in the one after handing back."""
    torch.manual_seed(0)
    sequences = every_sequence(6)
    z = torch.randn(2, 64, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    q = weights.log_softmax(0)
    nothing = torch.tensor(-torch.inf, dtype=torch.float64)
    delay = torch.stack([nothing, q[0], nothing, q[1]])
    onset, release = ((log_ndtr(-part), log_ndtr(part)) for part in z)
    likelihood = delayed_log_likelihood(onset, release, delay, sequences)

    # by hand: exactly these sequences can be
    possible = torch.tensor([sum(chances) > 0 for chances in chances_of(sequences)])
    assert torch.equal(likelihood.isfinite(), possible)
    assert (likelihood[~possible] == -torch.inf).all()

    gradient, of_delay = torch.autograd.grad(likelihood.sum(), [z, weights])
    assert gradient.isfinite().all()
    assert (gradient[:, ~possible] == 0).all()
    assert (gradient[:, possible].abs().sum((0, 2)) > 0).all()
    assert of_delay.isfinite().all()
    assert (decided_probs(onset, release, delay, sequences)[~possible] == 0).all()


def chances_of(sequences):
    """Return the chance of each sequence under delays of 1 and of 3 steps, if all else is a coin's toss."""
    probs, _ = enumerated([0.5] * 6, [0.5] * 6, [0.0, 0.5, 0.0, 0.5])
    return [[probs.get(tuple(sequence), 0.0)] for sequence in sequences.int().tolist()]


@pytest.mark.parametrize("delay", [[1.0], [0.0, 1.0], [0.2, 0.0, 0.8]])
def test_a_human_who_is_certain_is_no_trouble(delay):
    """Probabilities of exactly 0 and 1, as pairs with −∞."""
    onset, release = [0.0, 1.0, 0.5, 0.0, 1.0], [1.0, 0.0, 0.5, 1.0, 0.0]
    probs, posteriors = enumerated(onset, release, delay)
    sequences = every_sequence(5)
    pairs = pair(onset, 32), pair(release, 32)
    leaves = [part.clone().requires_grad_() for part in (*pairs[0], *pairs[1])]
    likelihood = delayed_log_likelihood(leaves[:2], leaves[2:], log(delay), sequences)
    pending = decided_probs(*pairs, log(delay), sequences)
    for sequence, prob, posterior in zip(sequences.int().tolist(), likelihood.exp(), pending, strict=True):
        assert prob.item() == pytest.approx(probs.get(tuple(sequence), 0.0), rel=1e-10)
        np.testing.assert_allclose(posterior.numpy(), posteriors.get(tuple(sequence), np.zeros(5)), atol=1e-10)
    for gradient in torch.autograd.grad(likelihood.sum(), leaves):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_enormous_gaps_on_either_side_keep_values_and_gradients_finite(size, dtype):
    torch.manual_seed(1)
    z = (size * (2 * torch.rand(2, 40, 30, dtype=torch.float64) - 1)).to(dtype).requires_grad_()
    onset, release = ((log_ndtr(-part), log_ndtr(part)) for part in z)
    intervened = torch.rand(40, 30) < 0.4
    delay = log(random_delay(4))
    for likelihood in (
        delayed_log_likelihood(onset, release, delay, intervened),
        sticky_log_likelihood(onset, release, intervened),
    ):
        assert likelihood.isfinite().all()
        (gradient,) = torch.autograd.grad(likelihood.sum(), z, retain_graph=True)
        assert gradient.isfinite().all()
        assert (gradient.abs().sum((0, 2)) > 0).all()
    pending = decided_probs(onset, release, delay, intervened)
    assert ((pending >= 0) & (pending <= 1)).all()


def test_enormous_gaps_have_the_likelihood_of_a_recursion_in_log_space():
    torch.manual_seed(2)
    z = 1e4 * (2 * torch.rand(2, 20, 30, dtype=torch.float64) - 1)
    onset, release = ((log_ndtr(-part), log_ndtr(part)) for part in z)
    intervened = torch.rand(20, 30) < 0.4
    delay = log(random_delay(4))
    likelihood = delayed_log_likelihood(onset, release, delay, intervened)
    for i in range(20):
        truth = log_recursion([part[i] for part in (*onset, *release)], delay, intervened[i])
        assert likelihood[i].item() == pytest.approx(truth, rel=1e-12)


def log_recursion(parts, delay, intervened):
    """Return the log-likelihood of one attempt: ln p of W, P_1, …, P_D and I after each step, jointly with ν so far."""
    watching, pending, in_control = 0.0, np.full(len(delay), -np.inf), -np.inf
    delay = delay.numpy()
    for waits, decides, leaves, stays, nu in zip(*(part.tolist() for part in parts), intervened.tolist(), strict=True):
        decided = np.logaddexp(watching + decides + delay, pending)  # by steps to go
        if nu:
            watching, pending, in_control = (
                -np.inf,
                np.full_like(pending, -np.inf),
                np.logaddexp(decided[0], in_control + stays),
            )
        else:
            watching = np.logaddexp(watching + waits, in_control + leaves)
            pending, in_control = np.append(decided[1:], -np.inf), -np.inf
    return np.logaddexp.reduce([watching, in_control, *pending])


# padding, shapes and precision


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 5.0])
def test_padded_steps_count_for_nothing_whatever_is_in_them(garbage):
    rng = np.random.default_rng(4)
    onset, release, nu = rng.uniform(0.1, 0.9, (3, 9)), rng.uniform(0.1, 0.9, (3, 9)), torch.rand(3, 9) < 0.4
    lengths = torch.tensor([9, 5, 1])
    valid = torch.arange(9) < lengths.unsqueeze(-1)
    pairs = [torch.where(valid, part, garbage).requires_grad_() for part in (*pair(onset), *pair(release))]
    delay = log(DELAYS[3])
    for function, arguments in ((delayed_log_likelihood, [delay]), (sticky_log_likelihood, [])):
        total = function(pairs[:2], pairs[2:], *arguments, nu, valid)
        flipped = function(pairs[:2], pairs[2:], *arguments, torch.where(valid, nu, ~nu), valid)
        assert torch.equal(total, flipped)
        for i, length in enumerate(lengths.tolist()):
            alone = pair(onset[i, :length]), pair(release[i, :length])
            torch.testing.assert_close(total[i], function(*alone, *arguments, nu[i, :length]))
        for gradient in torch.autograd.grad(total.sum(), pairs):
            assert gradient.isfinite().all()
            assert (gradient[~valid] == 0).all()

    pending = decided_probs(pairs[:2], pairs[2:], delay, nu, valid)
    assert (pending[~valid] == 0).all()
    torch.testing.assert_close(
        pending[1, :5], decided_probs(pair(onset[1, :5]), pair(release[1, :5]), delay, nu[1, :5])
    )


def test_a_batch_of_any_shape_is_a_loop_over_attempts():
    rng = np.random.default_rng(5)
    onset, release = rng.uniform(0.1, 0.9, (2, 3, 7)), rng.uniform(0.1, 0.9, (2, 3, 7))
    nu, delay = torch.rand(2, 3, 7) < 0.4, log(DELAYS[3])
    likelihood = delayed_log_likelihood(pair(onset), pair(release), delay, nu)
    pending = decided_probs(pair(onset), pair(release), delay, nu)
    sticky = sticky_log_likelihood(pair(onset), pair(release), nu)
    assert (likelihood.shape, pending.shape, sticky.shape) == ((2, 3), (2, 3, 7), (2, 3))
    for i, j in itertools.product(range(2), range(3)):
        one = pair(onset[i, j]), pair(release[i, j])
        torch.testing.assert_close(likelihood[i, j], delayed_log_likelihood(*one, delay, nu[i, j]))
        torch.testing.assert_close(pending[i, j], decided_probs(*one, delay, nu[i, j]))
        torch.testing.assert_close(sticky[i, j], sticky_log_likelihood(*one, nu[i, j]))


def test_single_precision_is_close_to_double_and_all_may_carry_gradients():
    rng = np.random.default_rng(6)
    parts = [*pair(rng.uniform(0.01, 0.3, (4, 200))), *pair(rng.uniform(0.7, 0.95, (4, 200)))]
    nu, delay = torch.rand(4, 200) < 0.2, log(random_delay(6))
    truth = delayed_log_likelihood(parts[:2], parts[2:], delay, nu)
    single = [part.float().requires_grad_() for part in (*parts, delay)]
    likelihood = delayed_log_likelihood(single[:2], single[2:4], single[4], nu)
    torch.testing.assert_close(likelihood.double(), truth, atol=1e-3, rtol=1e-5)
    for gradient in torch.autograd.grad(likelihood.sum(), single):
        assert gradient.dtype == torch.float32
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
    pending = decided_probs(single[:2], single[2:4], single[4], nu)
    assert pending.dtype == torch.float32
    assert not pending.requires_grad


def test_the_gradients_of_the_delayed_likelihood_are_right():
    torch.manual_seed(3)
    z = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, dtype=torch.float64, requires_grad=True)
    nu = torch.rand(3, 6) < 0.4

    def likelihood(z, weights):
        onset, release = ((log_ndtr(-part), log_ndtr(part)) for part in z)
        return delayed_log_likelihood(onset, release, weights.log_softmax(0), nu)

    assert torch.autograd.gradcheck(likelihood, [z, weights])


def test_an_attempt_that_ends_while_a_decision_is_pending_is_no_evidence_against_the_decision():
    """A human who decides at once and acts three steps later is not seen to act in two steps."""
    onset, release, delay = [1 - 1e-12] * 2, [0.5] * 2, [0.0, 0.0, 0.0, 1.0]
    silent = torch.tensor([False, False])
    assert delayed_log_likelihood(pair(onset), pair(release), log(delay), silent).item() == pytest.approx(0, abs=1e-11)
    pending = decided_probs(pair(onset), pair(release), log(delay), silent)
    torch.testing.assert_close(pending, torch.ones(2).double())


# the delay


@pytest.mark.parametrize(
    ("median", "spread", "longest"), [(1.6, 0.4, 4), (6.0, 0.4, 20), (12.0, 0.9, 40), (0.2, 1.0, 3)]
)
def test_a_delay_is_a_rounded_log_normal(median, spread, longest):
    q = log_normal_delay(median, spread, longest).exp().numpy()
    law = lognorm(s=spread, scale=median)
    edges = np.concatenate([[0.0], np.arange(longest + 1) + 0.5])
    np.testing.assert_allclose(q, np.diff(law.cdf(edges)) / law.cdf(longest + 0.5), rtol=1e-7)
    assert q.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("median", [1.0, 3.0, 6.0, 10.0])
def test_half_of_all_delays_are_at_most_the_median(median):
    q = log_normal_delay(median, 0.4, 60).exp().cumsum(0)
    assert q[int(median) - 1] < 0.5 < q[int(median)]


def test_a_median_of_zero_is_no_delay():
    assert log_normal_delay(0.0, 0.4, 20).exp().tolist() == [1.0]
    assert len(Delayed(0.0, median_delay=0).delay()) == 1
    assert len(Delayed(0.0, median_delay=2.0, longest_delay=7).delay()) == 8
