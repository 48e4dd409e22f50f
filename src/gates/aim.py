"""AIM's gate: ask where the robot does what a human would correct."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.gates.gate import Gate, threshold, usual_distance
from mile.gates.scores import Learner, ProxyValue, distance


class AIMGate(Gate):
    """Asks where the proxy value of the robot's action is high; hands back where human and robot agree.

    They agree, and a_r does not count as corrected, up to the median distance of their actions in what is recorded;
    discrete actions must be the same. AIM asks above the 95 % quantile; here the budget says which.

    Args:
        budget: Number of steps in an episode in which the human acts, at most.
        value: Score of the robot's action.

    Source: Cai et al., "Robot-gated interactive imitation learning with adaptive intervention mechanism", ICML 2025.
    """

    def __init__(self, budget: int, value: ProxyValue | None = None) -> None:
        super().__init__(budget)
        self.value = value or ProxyValue()
        self.ask_above = 0.0

    def asks(self, step: TensorDictBase) -> Tensor:
        """Return where the value is high; see `Gate.asks`."""
        return self.value(step) > self.ask_above

    def keeps(self, step: TensorDictBase, agreed: Tensor) -> Tensor:
        """Return where they disagreed; see `Gate.keeps`."""
        return ~agreed

    def agree(self, robot_action: Tensor, human_action: Tensor) -> Tensor:
        """Return where the actions are near; see `Gate.agree`."""
        return distance(robot_action, human_action) <= self.value.epsilon

    def fit(self, method: Learner, steps: TensorDictBase, share: float) -> None:
        """Learn the value and its quantile; see `Gate.fit`."""
        self.value.epsilon = usual_distance(steps)
        self.value.learn(method, steps)
        self.ask_above = threshold(self.value, steps, share)
