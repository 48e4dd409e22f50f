"""A human who decides, and acts some steps later: a semi-Markov model with an exact likelihood.

A human who watches decides in step t with probability h_t, and takes over d ≥ 0 steps later, whatever happens until
then; d has the distribution q. A human in control stays so with probability r_t. Only ν is observed, not when the
human decided, so the likelihood is a sum over the steps in which they may have.

Steps between two takeovers are independent of what was before. Within such a stretch, f_τ = h_τ Π (1 − h_j) is the
probability that the decision falls in step τ; the takeover begins in step t with probability Σ_k q(k) f_{t−k}.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.special import ndtr

from mile.timing.model import Attempts, Gap, LogProbs, State, before, total_log_likelihood
from mile.timing.sticky import Sticky


def delayed_log_likelihood(
    onset: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    release: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    delay: Float[Tensor, " delays"],
    intervened: Bool[Tensor, "*batch T"],
    valid: Bool[Tensor, "*batch T"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Return the log-likelihood of the observed ν of attempts of T steps, nats.

    An attempt that ends while a decision is pending is no evidence against the decision. A delay with zeros makes
    some attempts impossible: these have −∞, and a gradient of 0.

    Args:
        onset: Pair (ln(1 − h), ln h): not deciding, and deciding to take over.
        release: Pair (ln(1 − r), ln r): handing back, and staying in control.
        delay: Log-probabilities ln q(d) of delays of d = 0, 1, 2, … steps.
        intervened: Observed ν.
        valid: False in padded steps, at the end; None: all are valid.
    """
    if valid is None:
        valid = torch.ones_like(intervened)
    log_probs = delayed_log_probs(onset, release, delay, intervened, valid)
    return total_log_likelihood(log_probs, intervened, valid)


def delayed_log_probs(onset: LogProbs, release: LogProbs, delay: Tensor, intervened: Tensor, valid: Tensor) -> LogProbs:
    """Return (ln p(ν_t=0), ln p(ν_t=1)) given ν before t, in float64.

    The arguments are those of `delayed_log_likelihood`.
    """
    log_not, log_decide = (torch.where(valid, part, 0.0).double() for part in onset)
    in_control = before(intervened)
    first = _first_steps(in_control)  # of the stretch that a step belongs to, [*batch, T]

    # ln Π (1 − h_j) over the steps of the stretch before t; steps in which a decision is certain are counted apart,
    # because a sum beyond −∞ says nothing of the stretches that follow
    certain = (log_not == -torch.inf) & ~in_control
    passed = torch.where(in_control | certain, 0.0, log_not)
    passed = passed.cumsum(-1) - passed
    count = certain.cumsum(-1) - certain.long()
    blocked = count > count.gather(-1, first)
    watched = torch.where(blocked, -torch.inf, passed - passed.gather(-1, first))

    # ln f_{t−k} for k = 0, 1, …, D, as far as t − k lies in the stretch, [*batch, T, D + 1]
    longest = len(delay) - 1
    decided = torch.where(blocked, -torch.inf, log_decide + passed)
    decided = torch.nn.functional.pad(decided, (longest, 0)).unfold(-1, longest + 1, 1).flip(-1)
    lag = torch.arange(longest + 1, device=first.device)
    step = torch.arange(first.shape[-1], device=first.device)
    in_stretch = lag <= (step - first).unsqueeze(-1)
    decided = torch.where(in_stretch, decided - passed.gather(-1, first).unsqueeze(-1), -torch.inf)

    # a takeover that begins now; and none so far
    delay = delay.double()
    log_begins = _log_sum_exp(decided + delay)
    pending = _log_sum_exp(decided + _log_longer(delay))
    log_silent = _log_sum_exp(torch.stack([watched + log_not, pending], -1))
    log_silent_before = torch.where(step == first, 0.0, before(log_silent))
    log_silent_before = torch.where(log_silent_before == -torch.inf, 0.0, log_silent_before)  # impossible by then

    return (
        torch.where(in_control, release[0].double(), log_silent - log_silent_before),
        torch.where(in_control, release[1].double(), log_begins - log_silent_before),
    )


def decided_probs(
    onset: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    release: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    delay: Float[Tensor, " delays"],
    intervened: Bool[Tensor, "*batch T"],
    valid: Bool[Tensor, "*batch T"] | None = None,
) -> Float[Tensor, "*batch T"]:
    """Return the probability that a decision had fallen and was not yet acted on, given the whole attempt.

    The step of the decision is included. The probability is 0 where ν=1, in padded steps, and in impossible attempts.
    The arguments are those of `delayed_log_likelihood`.
    """
    if valid is None:
        valid = torch.ones_like(intervened)
    _, decides = decision_posterior(onset, release, delay, intervened, valid)
    return _still_pending(decides, intervened, valid).to(onset[0])


def decision_posterior(
    onset: LogProbs, release: LogProbs, delay: Tensor, intervened: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the probabilities, given the whole attempt, that a watching human (did not decide, decided) in a step.

    By Fisher's identity they are the derivatives of the log-likelihood by ln(1 − h_t) and ln h_t. They add up to less
    than 1 where the human may have decided before, and to 0 where they were in control. The arguments are those of
    `delayed_log_likelihood`.
    """
    with torch.enable_grad():
        leaves = [part.detach().double().requires_grad_() for part in onset]
        fixed = release[0].detach(), release[1].detach()
        total = delayed_log_likelihood((leaves[0], leaves[1]), fixed, delay.detach(), intervened, valid).sum()
        log_not, log_decide = torch.autograd.grad(total, leaves)
    return log_not, log_decide


def _still_pending(decides: Tensor, intervened: Tensor, valid: Tensor) -> Tensor:
    """Return the probability that a decision had fallen and was not yet acted on, from that of deciding in a step."""
    so_far = decides.cumsum(-1)
    in_earlier_stretches = (so_far - decides).gather(-1, _first_steps(before(intervened)))
    silent = valid & ~intervened & ~before(intervened)
    return torch.where(silent, so_far - in_earlier_stretches, 0.0).clamp(0, 1)


def _first_steps(in_control: Tensor) -> Tensor:
    """Return, for each step, the first one of the stretch in which nobody is in control before it, `[*batch, T]`."""
    step = torch.arange(in_control.shape[-1], device=in_control.device)
    begins = ~in_control & before(in_control)
    return torch.where(begins, step, 0).cummax(-1).values


def _log_longer(delay: Tensor) -> Tensor:
    """Return ln P(d > k) for k = 0, 1, …, D."""
    count = len(delay)
    later = torch.ones(count, count, dtype=torch.bool, device=delay.device).triu(1)
    return _log_sum_exp(torch.where(later, delay, -torch.inf))


def _log_sum_exp(values: Tensor) -> Tensor:
    """Return the logsumexp over the last dimension; where all are −∞, −∞ with a gradient of 0."""
    impossible = (values == -torch.inf).all(-1)
    total = torch.where(impossible.unsqueeze(-1), 0.0, values).logsumexp(-1)
    return torch.where(impossible, -torch.inf, total)


@lru_cache(maxsize=32)
def log_normal_delay(median: float, spread: float, longest: int) -> Float[Tensor, " delays"]:
    """Return ln q(d), d = 0, 1, …, longest, of a log-normal delay that is rounded to whole steps.

    Args:
        median: Median, steps; 0 for no delay.
        spread: Standard deviation of the delay's logarithm.
        longest: Longest delay, steps; longer ones are cut off.
    """
    if median == 0:
        return torch.tensor([0.0], dtype=torch.float64)
    edges = torch.arange(longest + 1, dtype=torch.float64) + 0.5
    below = ndtr((edges.log() - math.log(median)) / spread)
    share = below.diff(prepend=below.new_zeros(1))
    return (share / share.sum()).log()


@dataclass(frozen=True)
class Delayed(Sticky):
    """Decides to take over, does so some steps later, and stays in control at a lower cost.

    The delay in steps is log-normal, rounded to whole steps and cut at `longest_delay`.

    Attributes:
        release_cost: Cost of staying in control, c_off, nats; below that of taking over, c_on.
        median_delay: Median of the delay, steps; 0 for none.
        delay_spread: Standard deviation of the delay's logarithm.
        longest_delay: Longest delay, steps.

    Raises:
        ValueError: A number is out of its range.
    """

    one_decision: ClassVar[bool] = False

    median_delay: float
    delay_spread: float = 0.4  # people's reaction times
    longest_delay: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.median_delay) and self.median_delay >= 0):
            raise ValueError(f"median_delay (steps) must be at least 0 and finite, got {self.median_delay}")
        if not (math.isfinite(self.delay_spread) and self.delay_spread > 0):
            raise ValueError(f"delay_spread must be above 0 and finite, got {self.delay_spread}")
        if not isinstance(self.longest_delay, int):
            raise ValueError(f"longest_delay (steps) must be a whole number, got {self.longest_delay}")
        if self.longest_delay < max(1, self.median_delay):
            raise ValueError(
                f"longest_delay (steps) must be at least 1 and median_delay ({self.median_delay}), got "
                f"{self.longest_delay}"
            )

    def delay(self) -> Float[Tensor, " delays"]:
        """Return ln q(d) for d = 0, 1, …, longest_delay, float64."""
        return log_normal_delay(self.median_delay, self.delay_spread, self.longest_delay)

    def begin(self, batch: torch.Size) -> State:
        """Return the state of a human who watches and has not decided; see `TimingModel.begin`."""
        watching = torch.zeros(batch, dtype=torch.float64)  # ln p
        pending = torch.full((*batch, len(self.delay())), -torch.inf, dtype=torch.float64)  # ln p of k steps to go
        return {**super().begin(batch), "log_watching": watching, "log_pending": pending}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities given when a decision may have fallen; see `TimingModel.decide`."""
        log_not, log_decide = gap.log_probs(self.step_cost(state, cost))

        # this step's decision, of a human who watches
        watching = state["log_watching"] + log_not
        decided = (state["log_watching"] + log_decide).unsqueeze(-1) + self.delay().to(log_decide.device)
        pending = torch.logaddexp(decided, state["log_pending"])

        # a takeover now, or none
        log_silent = torch.cat([watching.unsqueeze(-1), pending[..., 1:]], -1).logsumexp(-1)
        in_control = state["in_control"]
        log_probs = (
            torch.where(in_control, log_not.double(), log_silent).clamp(max=0),
            torch.where(in_control, log_decide.double(), pending[..., 0]).clamp(max=0),
        )
        return log_probs, {"in_control": in_control, "log_watching": watching, "log_pending": pending}

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Update when a decision may have fallen; see `TimingModel.after`."""
        # where nobody takes over, what is pending comes a step nearer
        watching, pending = state["log_watching"], state["log_pending"]
        nearer = torch.cat([pending[..., 1:], torch.full_like(pending[..., :1], -torch.inf)], -1)
        total = torch.cat([watching.unsqueeze(-1), nearer], -1).logsumexp(-1)

        # elsewhere nothing is pending
        nothing = {name: value.to(intervened.device) for name, value in self.begin(intervened.shape).items()}
        silent = ~intervened & ~state["in_control"]
        return {
            "in_control": intervened,
            "log_watching": torch.where(silent, watching - total, nothing["log_watching"]),
            "log_pending": torch.where(silent.unsqueeze(-1), nearer - total.unsqueeze(-1), nothing["log_pending"]),
        }

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities given ν before; see `TimingModel.attempt_log_probs`."""
        onset, release, delay = self._parts(gap, cost)
        return delayed_log_probs(onset, release, delay, attempts.intervened, attempts.valid)

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return who was in control, and when decisions fell given the whole attempt; see `TimingModel.context`.

        A step with ν=0 is `content` with the probability that no decision had fallen yet.
        """
        onset, release, delay = self._parts(gap(), cost)
        intervened, valid = attempts.intervened, attempts.valid
        did_not_decide, decided = decision_posterior(onset, release, delay, intervened, valid)
        pending = _still_pending(decided, intervened, valid)
        return {
            **super().context(gap, attempts, cost),
            "did_not_decide": did_not_decide.to(onset[0]),
            "decided": decided.to(onset[0]),
            "content": torch.where(intervened, 0.0, 1 - pending).to(onset[0]),
        }

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return the expected log-likelihood of the hidden decision; see `TimingModel.step_log_likelihood`."""
        log_not, log_intervene = gap.log_probs(self.step_cost(steps, cost))
        decision = steps["did_not_decide"] * log_not + steps["decided"] * log_intervene
        staying = torch.where(steps["intervened"], log_intervene, log_not)
        return torch.where(steps["in_control"], staying, decision)

    def _parts(self, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, LogProbs, Tensor]:
        onset, release = gap.log_probs(cost), gap.log_probs(self.release_cost)
        return onset, release, self.delay().to(onset[0].device)
