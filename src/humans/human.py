"""What the deployment needs of a human, simulated or real."""

from typing import NamedTuple, Protocol

from torch import Tensor


class Decision(NamedTuple):
    """What a human does in one step.

    Attributes:
        intervened: ν, `[*batch]` bool.
        action: what the human does if ν=1, `[*batch]` (int64) or `[*batch, action_dim]`; anything where ν=0.
        intervention_prob: p(ν=1|s), `[*batch]`; NaN if nobody knows.
    """

    intervened: Tensor
    action: Tensor
    intervention_prob: Tensor


class DiscardedError(Exception):
    """The human wants the episode played again, as if it had not been."""


class Human(Protocol):
    """Oversees the robot and may take over at any time step.

    The signature holds the paper's assumption: a human decides without seeing the robot's action (Sec. III).

    Attributes:
        sees: the entry of a step that they decide on.
    """

    sees: str = "observation"

    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Decide for observations `[*batch, observation_dim]`.

        `noise` `[*batch, 1 + action parts]` are uniform numbers for the decision and the action, so that an episode
        can be repeated; without them torch's global generator serves. May raise `DiscardedError`.
        """
        ...

    def begin(self) -> None:
        """Hear that an episode begins with the next observation."""

    def judge(self, executed_action: Tensor) -> bool | None:
        """Hear what was executed; return whether the episode ends as a success or a failure, None if it goes on."""
