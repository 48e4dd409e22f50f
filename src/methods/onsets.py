"""Which steps are interventions, which lie just before or just after an onset, and how to draw half of each kind."""

import torch
from jaxtyping import Bool, Float
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


def half_interventions(steps: TensorDictBase) -> Float[Tensor, " steps"]:
    """Return weights by which half of the steps that are drawn are interventions, in expectation.

    They are (N − n) / n for the n interventions of the N steps, and 1 for the others. Where there are only
    interventions, or none, all weights are 1.
    """
    intervened = interventions(steps)
    total, count = len(intervened), int(intervened.sum())  # N, n
    if count in (0, total):
        return torch.ones(total)
    return torch.where(intervened, (total - count) / count, 1.0)
