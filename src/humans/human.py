"""The protocol of a human who oversees the robot, simulated or real."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Decision(NamedTuple):
    """Decision of a human in one step.

    Attributes:
        intervened: Whether the human intervenes (ν), `[*batch]` bool.
        action: Action of the human where ν=1, `[*batch]` (int64) or `[*batch, action_dim]`; any value where ν=0.
        intervention_prob: Probability of an intervention, p(ν=1|s), `[*batch]`; NaN if it is unknown.
    """

    intervened: Tensor
    action: Tensor
    intervention_prob: Tensor


class DiscardedError(Exception):
    """The human discards the episode, which is played again as if for the first time."""


class Human(Protocol):
    """Oversees the robot and may take over at any time step.

    The signature holds the paper's assumption: a human decides without seeing the robot's action (Sec. III).

    Attributes:
        sees: Entry of a step that the human decides by.
    """

    sees: str = "observation"

    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Decide for observations `[*batch, observation_dim]`.

        Args:
            observation: Observations, `[*batch, observation_dim]`.
            noise: Uniform numbers in [0, 1) for the decision and for the action, `[*batch, 1 + action parts]`, by
                which an episode can be repeated; None: draws from torch's global generator.

        Raises:
            DiscardedError: The episode is to be played again.
        """
        ...

    def begin(self) -> None:
        """Called before an episode's first observation."""

    def judge(self, executed_action: Tensor) -> bool | None:
        """Called with the executed action after each step.

        Returns:
            True: the episode ends as a success; False: it ends as a failure; None: it goes on.
        """
