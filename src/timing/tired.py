"""A human whose effort grows with every step that they have been in control."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mile.timing.memoryless import Memoryless
from mile.timing.model import Attempts, Gap, LogProbs, State


@dataclass(frozen=True)
class Tired(Memoryless):
    """Decides as `Memoryless`, at a cost that rises with the steps in control so far in the attempt.

    Attributes:
        cost_per_step: Rise of the cost with each step in control, nats.

    Raises:
        ValueError: The cost_per_step is negative or not finite.
    """

    one_decision: ClassVar[bool] = False

    cost_per_step: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cost_per_step) and self.cost_per_step >= 0):
            raise ValueError(f"cost_per_step (nats) must be at least 0 and finite, got {self.cost_per_step}")

    def begin(self, batch: torch.Size) -> State:
        """Return the state of a human who is rested; see `TimingModel.begin`."""
        return {"steps_in_control": torch.zeros(batch)}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities at the present cost; see `TimingModel.decide`."""
        return gap.log_probs(self.step_cost(state, cost)), state

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Count the steps in control; see `TimingModel.after`."""
        return {"steps_in_control": state["steps_in_control"] + intervened}

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities at each step's cost; see `TimingModel.attempt_log_probs`."""
        return gap.log_probs(self.step_cost(self.context(lambda: gap, attempts, cost), cost))

    def context(self, gap: Callable[[], Gap], attempts: Attempts, cost: float | Tensor) -> dict[str, Tensor]:
        """Return the steps in control before each step; see `TimingModel.context`."""
        intervened = attempts.intervened.float()
        return {"steps_in_control": intervened.cumsum(-1) - intervened}

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return ln p(ν|s) at the step's cost; see `TimingModel.step_log_likelihood`."""
        return super().step_log_likelihood(gap, steps, self.step_cost(steps, cost))

    def step_cost(self, steps: Mapping[str, Tensor], cost: float | Tensor) -> float | Tensor:
        """Return the cost, risen by the steps in control; see `TimingModel.step_cost`."""
        return cost + self.cost_per_step * steps["steps_in_control"]
