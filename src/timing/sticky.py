"""Takeovers that last: it costs less to stay in control than to take it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mile.timing.memoryless import Memoryless
from mile.timing.model import Attempts, Gap, LogProbs, State, before, total_log_likelihood


def sticky_log_likelihood(
    onset: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    release: tuple[Float[Tensor, "*batch T"], Float[Tensor, "*batch T"]],
    intervened: Bool[Tensor, "*batch T"],
    valid: Bool[Tensor, "*batch T"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Return the log-likelihood of the observed ν of attempts of T steps, nats.

    Args:
        onset: Pair (ln p(ν=0), ln p(ν=1)) of a human who is not in control, at the cost of taking over.
        release: Pair (ln p(ν=0), ln p(ν=1)) of a human who is in control, at the cost of staying so.
        intervened: Observed ν.
        valid: False in padded steps, at the end; None: all are valid.
    """
    if valid is None:
        valid = torch.ones_like(intervened)
    return total_log_likelihood(sticky_log_probs(onset, release, intervened), intervened, valid)


def sticky_log_probs(onset: LogProbs, release: LogProbs, intervened: Tensor) -> LogProbs:
    """Return (ln p(ν_t=0), ln p(ν_t=1)) given ν before t; the arguments are those of `sticky_log_likelihood`."""
    in_control = before(intervened)
    log_not = torch.where(in_control, release[0], onset[0])
    log_intervene = torch.where(in_control, release[1], onset[1])
    return log_not, log_intervene


@dataclass(frozen=True)
class Sticky(Memoryless):
    """Takes over at one cost, and stays in control at a lower one.

    Where p(ν=1|s) at the lower cost is r, a takeover lasts 1 / (1 − r) steps in the mean.

    Attributes:
        release_cost: Cost of staying in control, c_off, nats; below that of taking over, c_on.

    Raises:
        ValueError: The release_cost is not finite; or, in `check`, it is not below the cost of taking over.
    """

    release_cost: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.release_cost):
            raise ValueError(f"release_cost (c_off, nats) must be finite, got {self.release_cost}")

    def check(self, cost: float) -> None:
        """Raise ValueError unless it costs less to stay in control than to take it."""
        if not self.release_cost < cost:
            raise ValueError(
                f"release_cost (c_off) must be below the cost of taking over (c_on), got {self.release_cost} and "
                f"{cost} nats; timing=memoryless has one cost"
            )

    def begin(self, batch: torch.Size) -> State:
        """Return the state of a human who is not in control; see `TimingModel.begin`."""
        return {"in_control": torch.zeros(batch, dtype=torch.bool)}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities of Eq. 2 at the present cost; see `TimingModel.decide`."""
        return gap.log_probs(self.step_cost(state, cost)), state

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Remember who is in control; see `TimingModel.after`."""
        return {"in_control": intervened}

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities at each step's cost; see `TimingModel.attempt_log_probs`."""
        return gap.log_probs(self.step_cost({"in_control": before(attempts.intervened)}, cost))

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return who was in control before each step; see `TimingModel.context`."""
        return {"in_control": before(attempts.intervened)}

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return ln p(ν|s) at the step's cost; see `TimingModel.step_log_likelihood`."""
        return super().step_log_likelihood(gap, steps, self.step_cost(steps, cost))

    def step_cost(self, steps: Mapping[str, Tensor], cost: float | Tensor) -> float | Tensor:
        """Return the cost of staying in control, or of taking it; see `TimingModel.step_cost`."""
        return torch.where(steps["in_control"], self.release_cost, cost)
