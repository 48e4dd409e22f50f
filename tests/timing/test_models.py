"""Every model in time, against enumeration, its own step by step form, and gradients of whole attempts."""

import itertools

import pytest
import torch
from torch.distributions import Independent, Normal

from mile.timing import Attempts, Gap
from tests.timing.people import COST, MODELS, SCALE, categoricals, expand, gap_of, gaussians

T = 8
KINDS = [gaussians, categoricals]


def every_sequence(length):
    """Return all sequences of ν, `[2^length, length]`."""
    return torch.tensor(list(itertools.product([False, True], repeat=length)))


def actions_like(gap):
    """Return one executed action for each step."""
    return gap.human.sample()


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_the_likelihoods_of_all_sequences_add_up_to_one(name, make):
    torch.manual_seed(0)
    gap = gap_of(name, T, make=make)
    sequences = every_sequence(T)
    actions = actions_like(gap).expand(len(sequences), *gap.human.batch_shape, *gap.human.event_shape)
    attempts = Attempts(sequences, torch.ones_like(sequences), actions)
    total = MODELS[name].log_likelihood(expand(gap, len(sequences)), attempts, COST).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total), atol=1e-9, rtol=0)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_step_by_step_and_whole_attempts_agree(name, make):
    torch.manual_seed(1)
    model, batch = MODELS[name], 40
    gap = gap_of(name, batch, T, make=make)
    intervened = torch.rand(batch, T) < 0.4
    actions = actions_like(gap)
    whole = model.attempt_log_probs(gap, Attempts(intervened, torch.ones_like(intervened), actions), COST)

    state = model.begin(torch.Size([batch]))
    for step in range(T):
        now = Gap(at(gap.human, step), at(gap.mental_model, step, name == "believing"), SCALE)
        log_probs, state = model.decide(state, now, COST)
        state = model.after(state, now, intervened[:, step], actions[:, step])
        for one, other in zip(log_probs, whole, strict=True):
            torch.testing.assert_close(one, other[:, step].to(one), atol=1e-6, rtol=1e-6)


def at(distribution, step, hypotheses=False):
    """Return the distribution in one step of `[batch, T]`, or of `[batch, T, hypotheses]`."""
    if isinstance(distribution, Independent):
        base = distribution.base_dist
        return Independent(Normal(base.mean[:, step], base.stddev[:, step]), 1)
    return type(distribution)(logits=distribution.logits[:, step])


@pytest.mark.parametrize("name", MODELS)
def test_single_steps_have_the_gradient_of_whole_attempts(name):
    torch.manual_seed(2)
    model, batch = MODELS[name], 6
    mean = torch.randn(batch, T, 2, dtype=torch.float64, requires_grad=True)
    gap = gap_of(name, batch, T)
    gap = gap._replace(human=Independent(Normal(mean, gap.human.base_dist.stddev), 1))
    intervened = torch.rand(batch, T) < 0.4
    attempts = Attempts(intervened, torch.ones_like(intervened), gap.mental_model.sample()[..., 0, :])
    if name != "believing":
        attempts = attempts._replace(executed_action=gap.mental_model.sample())

    whole = torch.autograd.grad(model.log_likelihood(gap, attempts, COST).sum(), mean)[0]
    steps = {"intervened": intervened, **model.context(lambda: gap, attempts, COST)}
    single = torch.autograd.grad(model.step_log_likelihood(gap, steps, COST).sum(), mean)[0]
    torch.testing.assert_close(single, whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_padded_steps_count_for_nothing(name):
    torch.manual_seed(3)
    gap = gap_of(name, 2, T)
    intervened = torch.rand(2, T) < 0.4
    valid = torch.arange(T).expand(2, T) < torch.tensor([[5], [T]])
    actions = actions_like(gap)
    likelihood = MODELS[name].log_likelihood(gap, Attempts(intervened, valid, actions), COST)

    other = torch.where(valid, intervened, ~intervened)
    again = MODELS[name].log_likelihood(gap, Attempts(other, valid, actions), COST)
    torch.testing.assert_close(likelihood, again)
    short = Gap(cut(gap.human), cut(gap.mental_model), SCALE)
    alone = MODELS[name].log_likelihood(short, Attempts(intervened[:, :5], valid[:, :5], actions[:, :5]), COST)
    torch.testing.assert_close(likelihood[0], alone[0])


def cut(distribution):
    """Return a Gaussian's first five steps."""
    base = distribution.base_dist
    return Independent(Normal(base.mean[:, :5], base.stddev[:, :5]), 1)


@pytest.mark.parametrize("mean", [-150.0, 0.0, 150.0])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_finite_far_out_on_either_side(name, mean):
    torch.manual_seed(4)
    offset = torch.full((3, T, 2), mean, dtype=torch.float64, requires_grad=True)  # a gap of some 10⁴ nats
    gap = gap_of(name, 3, T)
    gap = gap._replace(human=Independent(Normal(offset, torch.ones_like(offset)), 1))
    intervened = torch.rand(3, T) < 0.5
    for cost in (COST, 2e4):
        attempts = Attempts(intervened, torch.ones_like(intervened), torch.zeros(3, T, 2))
        likelihood = MODELS[name].log_likelihood(gap, attempts, cost)
        assert likelihood.isfinite().all()
        assert torch.autograd.grad(likelihood.sum(), offset)[0].isfinite().all()
