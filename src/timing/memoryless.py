"""The paper's human, who decides anew in every step (Sec. IV)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mile.timing.model import Attempts, Gap, LogProbs, State, TimingModel


@dataclass(frozen=True)
class Memoryless(TimingModel):
    """Decides by p(ν=1|s) alone, Eq. 2."""

    one_decision: ClassVar[bool] = True

    def begin(self, batch: torch.Size) -> State:
        """Return an empty state; see `TimingModel.begin`."""
        return {}

    def decide(self, state: State, gap: Gap, cost: float | Tensor) -> tuple[LogProbs, State]:
        """Return the probabilities of Eq. 2; see `TimingModel.decide`."""
        return gap.log_probs(cost), state

    def after(self, state: State, gap: Gap, intervened: Tensor, executed: Tensor) -> State:
        """Remember nothing; see `TimingModel.after`."""
        return state

    def attempt_log_probs(self, gap: Gap, attempts: Attempts, cost: float | Tensor) -> LogProbs:
        """Return the probabilities of Eq. 2; see `TimingModel.attempt_log_probs`."""
        return gap.log_probs(cost)

    def step_log_likelihood(self, gap: Gap, steps: Mapping[str, Tensor], cost: float | Tensor) -> Tensor:
        """Return ln p(ν|s); see `TimingModel.step_log_likelihood`."""
        return gap.log_likelihood(steps["intervened"], cost)

    def step_cost(self, steps: Mapping[str, Tensor], cost: float | Tensor) -> float | Tensor:
        """Return the cost; see `TimingModel.step_cost`."""
        return cost
