"""The protocol of a human who oversees the robot, simulated or real."""

from typing import NamedTuple, Protocol

from tensordict import TensorDictBase
from torch import Tensor

from mile.humans.corrections import Corrections


class Decision(NamedTuple):
    """Decision of a human in one step.

    Attributes:
        intervened: Whether the human intervenes (ν), `[*batch]` bool.
        action: Action of the human where ν=1, `[*batch]` (int64) or `[*batch, action_dim]`; any value where ν=0.
        intervention_prob: Probability of an intervention, p(ν=1|s), `[*batch]`; NaN if it is unknown.
        direction: Where ν=1, which way the robot should move instead of being taken over, of length 1,
            `[*batch, action_dim]`, or NaN for a stop; see `mile.humans.corrections`. None: the human takes over.
    """

    intervened: Tensor
    action: Tensor
    intervention_prob: Tensor
    direction: Tensor | None = None


class DiscardedError(Exception):
    """The human discards the episode, which is played again as if for the first time."""


class Human(Protocol):
    """Oversees the robot and may take over at any time step.

    A human decides without seeing the robot's action, as the paper assumes (Sec. III): the entries of a step that they
    get hold none. A human may have a state, one for each copy of the environment.

    Attributes:
        in_keys: Entries of a step that the human decides by.
        corrections: What they do where ν=1: "takeover", or one of the other kinds of `mile.humans.corrections`.
    """

    in_keys: tuple[str, ...] = ("observation",)
    corrections: Corrections = "takeover"

    def decide(self, step: TensorDictBase) -> Decision:
        """Decide in one step.

        Args:
            step: Entries of the step, `[*batch]`: those that the human observes; and perhaps `human_noise`, uniform
                numbers in [0, 1) for the decision and for the action, `[*batch, 1 + action parts]`, by which an episode
                can be repeated. Without them, draws come from torch's global generator. Where
                there is an `Oversight`, `attended` and `asked`, `[*batch]` bool: copies that the human attends, in
                which alone they can intervene, and those of them in which they are asked to act.

        Raises:
            DiscardedError: The episode is to be played again.
        """
        ...

    def begin(self, copies: Tensor | None = None) -> None:
        """Called before an episode's first observation.

        Args:
            copies: Copies of the environment in which an episode begins, `[*batch]` bool; None: all.
        """

    def judge(self, executed_action: Tensor) -> bool | None:
        """Called with the executed action after each step.

        Returns:
            True: the episode ends as a success; False: it ends as a failure; None: it goes on.
        """
