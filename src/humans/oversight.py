"""Which robots a human looks after, and when they are asked to act."""

from typing import Any, NamedTuple, Protocol

from tensordict import TensorDictBase
from torch import Tensor


class Attention(NamedTuple):
    """What is wanted of a human in one step.

    Attributes:
        attended: Copies that the human attends, in which they can intervene, `[*batch]` bool.
        requested: Those of them in which they are asked to act, `[*batch]` bool.
    """

    attended: Tensor
    requested: Tensor


class Oversight(Protocol):
    """Decides, in each step, which copies of the environment a human attends, and where they are asked to act."""

    def learn(self, method: Any, steps: TensorDictBase) -> None:
        """Learn what to go by; called before every round but the first.

        Args:
            method: Method that learns, with its present networks.
            steps: All recorded steps, whole attempts by round, `[steps]`.
        """
        ...

    def begin(self, copies: Tensor | None = None) -> None:
        """Called before an episode's first observation.

        Args:
            copies: Copies of the environment in which an episode begins, `[*batch]` bool; None: all.
        """
        ...

    def direct(self, step: TensorDictBase) -> Attention:
        """Return what is wanted of the human in one step.

        Args:
            step: Entries of the step, `[*batch]`: `observation`, the robot's `action`, and perhaps `human_noise` and
                `episode`, as `mile.envs.episodes` has them.
        """
        ...

    def after(self, intervened: Tensor, robot_action: Tensor, human_action: Tensor) -> None:
        """Called with what came of the step.

        Args:
            intervened: Where the human acted, `[*batch]` bool.
            robot_action: Action that the robot proposed, `[*batch]` or `[*batch, action_dim]`.
            human_action: Action of the human where they acted, in the same form; any value elsewhere.
        """
        ...
