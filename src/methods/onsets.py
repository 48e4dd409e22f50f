"""Which steps of recorded attempts are interventions, and which lie just before or just after one began."""

import torch
from jaxtyping import Bool
from tensordict import TensorDictBase
from torch import Tensor

from mile.transitions import DEMONSTRATION


def interventions(steps: TensorDictBase) -> Bool[Tensor, " steps"]:
    """Return where a human took over from the robot; in a demonstration nobody does."""
    return steps["intervened"] & (steps["round"] != DEMONSTRATION)


def before_interventions(steps: TensorDictBase, window: int) -> Bool[Tensor, " steps"]:
    """Return which of the robot's steps are among the last ones before an intervention.

    They lie in the same attempt, and reach back to an earlier intervention at most.

    Args:
        steps: Whole attempts, one after another, `[steps]`.
        window: Number of steps before an onset.
    """
    # index of the next intervention; out of every window's reach if there is none
    intervened, index = interventions(steps), torch.arange(len(steps))
    beyond = 2 * len(steps) + window
    following = torch.where(intervened, index, beyond).flip(0).cummin(0).values.flip(0)

    # near it, and in its attempt
    partner = following.clamp_max(len(steps) - 1)
    same = (steps["round"][partner] == steps["round"]) & (steps["episode"][partner] == steps["episode"])
    return ~intervened & (following - index <= window) & same


def first_of_interventions(steps: TensorDictBase, window: int) -> Bool[Tensor, " steps"]:
    """Return which of the human's steps are among the first ones of an intervention.

    Args:
        steps: Whole attempts, one after another, `[steps]`.
        window: Number of steps from an onset on.
    """
    intervened, index = interventions(steps), torch.arange(len(steps))
    begins = intervened.clone()
    same = (steps["round"][1:] == steps["round"][:-1]) & (steps["episode"][1:] == steps["episode"][:-1])
    begins[1:] &= ~(intervened[:-1] & same)
    onset = torch.where(begins, index, 0).cummax(0).values
    return intervened & (index - onset < window)
