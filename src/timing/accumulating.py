"""A human who waits to see whether the robot recovers: they decide by the mean of what they have seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.special import log_ndtr

from mile.timing.model import Attempts, Gap, LogProbs, State, before, total_log_likelihood
from mile.timing.sticky import Sticky


@dataclass(frozen=True)
class Accumulating(Sticky):
    """Decides as `Sticky`, by the leaky mean of the expected gap since they last handed back.

    The mean begins at 0, becomes (1 − leak) × itself + leak × the expected gap in every step, and begins anew when the
    human hands control back.

    Attributes:
        release_cost: Cost of staying in control, c_off, nats; below that of taking over, c_on.
        leak: Weight of the newest step, in (0, 1].

    Raises:
        ValueError: A number is out of its range.
    """

    one_decision: ClassVar[bool] = False

    leak: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.leak <= 1:
            raise ValueError(f"leak must lie in (0, 1], got {self.leak}")

    def begin(self, batch: torch.Size) -> State:
        """Return the state of a human who has seen nothing; see `TimingModel.begin`."""
        return {**super().begin(batch), "mean_gap": torch.zeros(batch, dtype=torch.float64)}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities at the mean gap; see `TimingModel.decide`."""
        mean_gap = self._add(state["mean_gap"], gap.expected())
        log_probs = self._log_probs(mean_gap, self.step_cost(state, cost), gap.scale)
        return log_probs, {**state, "mean_gap": mean_gap}

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Begin anew where the human hands back; see `TimingModel.after`."""
        hands_back = state["in_control"] & ~intervened
        return {"in_control": intervened, "mean_gap": torch.where(hands_back, 0.0, state["mean_gap"])}

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities at the mean gap; see `TimingModel.attempt_log_probs`."""
        in_control = before(attempts.intervened)
        mean_gap = self._mean_gap(gap.expected(), attempts)
        return self._log_probs(mean_gap, self.step_cost({"in_control": in_control}, cost), gap.scale)

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return the mean so far, and how much later steps gain by this step's gap; see `TimingModel.context`."""
        in_control = before(attempts.intervened)
        costs = self.step_cost({"in_control": in_control}, cost)
        here = gap()
        expected = here.expected().detach()
        mean_gap = self._mean_gap(expected, attempts)
        so_far = mean_gap - self.leak * expected  # (1 − leak) × the mean before

        # derivatives of the log-likelihood by the gap of a step: of all steps, and of this step alone
        with torch.enable_grad():
            gaps = expected.requires_grad_()
            log_probs = self._log_probs(self._mean_gap(gaps, attempts), costs, here.scale)
            (whole,) = torch.autograd.grad(self._total(log_probs, attempts), gaps)
            log_probs = self._log_probs(so_far + self.leak * gaps, costs, here.scale)
            (own,) = torch.autograd.grad(self._total(log_probs, attempts), gaps)
        return {"in_control": in_control, "gap_so_far": so_far, "gain_of_later_steps": whole - own}

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return ln p(ν), with the gradient of later steps added; see `TimingModel.step_log_likelihood`."""
        expected = gap.expected()
        mean_gap = steps["gap_so_far"].to(expected) + self.leak * expected
        log_not, log_intervene = self._log_probs(mean_gap, self.step_cost(steps, cost), gap.scale)
        own = torch.where(steps["intervened"], log_intervene, log_not)
        return own + steps["gain_of_later_steps"].to(expected) * (expected - expected.detach())

    def _add(self, mean_gap: Tensor, gap: Tensor) -> Tensor:
        return (1 - self.leak) * mean_gap + self.leak * gap

    def _mean_gap(self, expected: Tensor, attempts: Attempts) -> Tensor:
        """Return the mean gap that each step is decided by, `[*batch, T]`."""
        expected = torch.where(attempts.valid, expected, 0.0)
        hands_back = before(attempts.intervened) & ~attempts.intervened
        mean = torch.zeros_like(expected[..., 0])
        means = []
        for gap, ends in zip(expected.unbind(-1), hands_back.unbind(-1), strict=True):
            mean = self._add(mean, gap)
            means.append(mean)
            mean = torch.where(ends, 0.0, mean)
        return torch.stack(means, -1)

    @staticmethod
    def _log_probs(mean_gap: Tensor, cost: float | Tensor, scale: float | Tensor) -> LogProbs:
        z = (mean_gap - cost) / scale
        return log_ndtr(-z), log_ndtr(z)

    @staticmethod
    def _total(log_probs: LogProbs, attempts: Attempts) -> Tensor:
        return total_log_likelihood(log_probs, attempts.intervened, attempts.valid).sum()
