"""ThriftyDAgger's gate: ask where the state is new, or where failure is likely."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.gates.gate import Gate, threshold, usual_distance
from mile.gates.scores import Learner, Risk, Variance, distance


class ThriftyGate(Gate):
    """Asks where an ensemble's variance or the risk is high; hands back where both agree and the risk is usual.

    Variance and risk are each above their threshold in half of the share of steps that the budget allows. Human and
    robot agree below the median distance of their actions in what is recorded; discrete actions must be the same.

    Args:
        budget: Number of steps in an episode in which the human acts, at most.
        variance: Score that is high in new states.
        risk: Score that is high where failure is likely.

    Source: Hoque et al., "ThriftyDAgger: Budget-aware novelty and risk gating for interactive imitation learning",
    CoRL 2021.
    """

    def __init__(self, budget: int, variance: Variance | None = None, risk: Risk | None = None) -> None:
        super().__init__(budget)
        self.variance = variance or Variance()
        self.risk = risk or Risk()
        self.new_above = self.risky_above = self.usual_risk = self.near = 0.0

    def asks(self, step: TensorDictBase) -> Tensor:
        """Return where the state is new or risky; see `Gate.asks`."""
        return (self.variance(step) > self.new_above) | (self.risk(step) > self.risky_above)

    def keeps(self, step: TensorDictBase, agreed: Tensor) -> Tensor:
        """Return where they disagreed, or where it is riskier than usual; see `Gate.keeps`."""
        return ~(agreed & (self.risk(step) <= self.usual_risk))

    def agree(self, robot_action: Tensor, human_action: Tensor) -> Tensor:
        """Return where the actions are near; see `Gate.agree`."""
        return distance(robot_action, human_action) <= self.near

    def fit(self, method: Learner, steps: TensorDictBase, share: float) -> None:
        """Learn both scores and all thresholds; see `Gate.fit`."""
        self.variance.learn(method, steps)
        self.risk.learn(method, steps)
        self.new_above = threshold(self.variance, steps, share / 2)
        self.risky_above = threshold(self.risk, steps, share / 2)
        self.usual_risk = threshold(self.risk, steps, 0.5)
        self.near = usual_distance(steps)
