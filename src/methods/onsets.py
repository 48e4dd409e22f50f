"""Which steps are interventions, which lie just before or just after an onset, and how to draw half of each kind."""

import warnings

import torch
from jaxtyping import Bool, Float
from tensordict import TensorDictBase
from torch import Tensor

from mile.transitions import DEMONSTRATION, decided


def interventions(steps: TensorDictBase) -> Bool[Tensor, " steps"]:
    """Return where a human took over from the robot; in a demonstration nobody does."""
    return steps["intervened"] & (steps["round"] != DEMONSTRATION)


def before_interventions(steps: TensorDictBase, window: int) -> Bool[Tensor, " steps"]:
    """Return which of the robot's steps are among the last ones before an intervention.

    They lie in the same attempt, and reach back to an earlier intervention at most. A human decided in them and in the
    intervention: one that was asked for says nothing of the steps before.

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
    return ~intervened & decided(steps) & (following - index <= window) & same & decided(steps)[partner]


def first_of_interventions(steps: TensorDictBase, window: int, own: bool = False) -> Bool[Tensor, " steps"]:
    """Return which of the human's steps are among the first ones of an intervention.

    Args:
        steps: Whole attempts, one after another, `[steps]`.
        window: Number of steps from an onset on.
        own: Leave out interventions that were asked for when they began.
    """
    intervened, index = interventions(steps), torch.arange(len(steps))
    begins = intervened.clone()
    same = (steps["round"][1:] == steps["round"][:-1]) & (steps["episode"][1:] == steps["episode"][:-1])
    begins[1:] &= ~(intervened[:-1] & same)
    onset = torch.where(begins, index, 0).cummax(0).values
    first = intervened & (index - onset < window)
    return first & decided(steps)[onset] if own else first


def half_interventions(steps: TensorDictBase, others: Tensor | None = None) -> Float[Tensor, " steps"]:
    """Return weights by which half of the steps that are drawn are interventions, in expectation.

    They are m / n for the n interventions, and 1 for the m others that are drawn at all. Where there are only
    interventions, or none, these weights are 1, too.

    Args:
        steps: Recorded steps, `[steps]`.
        others: Which of the other steps are drawn at all, `[steps]`; None: all.
    """
    intervened = interventions(steps)
    others = ~intervened if others is None else others & ~intervened
    count, rest = int(intervened.sum()), int(others.sum())  # n, m
    weight = rest / count if count and rest else 1.0
    return torch.where(intervened, weight, others.float())


def decisions(steps: TensorDictBase, in_time: bool) -> Tensor | None:
    """Return 1 for steps in which a human decided whether to intervene, 0 for demonstrations; None: 1 for all.

    Args:
        steps: Recorded steps, `[steps]`.
        in_time: Whether what a human decides depends on what they decided before, so that no step may be left out.

    Raises:
        ValueError: There are demonstrations alone; or the human lives in time, and did not decide in every step.
    """
    deployed = steps["round"] != DEMONSTRATION
    message = f"MILE learns from deployments alone, got {int((~deployed).sum())} steps of demonstrations"
    if not deployed.any() or (in_time and not deployed.all()):
        raise ValueError(f"{message}; leave them out")
    if in_time and not decided(steps).all():
        raise ValueError(
            "a human in time must have decided in every step, got some that nobody attended or that were asked for; "
            "choose timing=memoryless and learn_cost=false"
        )
    if deployed.all():
        return None
    warnings.warn(f"{message}, which it leaves out", stacklevel=2)
    return deployed.float()
