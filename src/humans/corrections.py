"""Corrections without an action: a human who does not take over, but stops the robot, or says which way it should move.

A stop is ν=1 alone: the robot holds, by an action of zero. A direction d, shown by a nudge or said in a word, is added
to the robot's own action; it is learnt from by `mile.losses.direction_nll`.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Corrections = Literal["takeover", "nudge", "stop", "words"]
KINDS: tuple[Corrections, ...] = ("takeover", "nudge", "stop", "words")
STEP = 0.5  # length of what a direction adds to the robot's action, whose parts lie in [-1, 1]


def check_corrections(kind: str, is_discrete: bool) -> None:
    """Check that a human may correct a robot in this way.

    Args:
        kind: Kind of correction.
        is_discrete: Whether the robot's actions are discrete.

    Raises:
        ValueError: There is no such kind, or discrete actions have no direction and no zero.
    """
    if kind not in KINDS:
        raise ValueError(f"human.corrections must be one of {', '.join(KINDS)}, got '{kind}'")
    if is_discrete and kind != "takeover":
        raise ValueError(
            f"human.corrections={kind} needs continuous actions, which have directions, and a zero that holds; choose "
            "human.corrections=takeover"
        )


def direction_to(
    wanted: Float[Tensor, "*batch actions"], expected: Float[Tensor, "*batch actions"], kind: Corrections
) -> Float[Tensor, "*batch actions"] | None:
    """Return which way a human wants the robot to move, of length 1; NaN for a stop; None: they act themselves.

    Who wants nothing else than what they expect, and yet intervenes, stops the robot.

    Args:
        wanted: What the human would do.
        expected: What they expect of the robot, whose action they do not see.
        kind: Kind of correction. A word names one part of the action and its sign: the one that differs most.
    """
    if kind == "takeover":
        return None
    difference = wanted - expected
    stops = (difference == 0).all(-1, keepdim=True)
    if kind == "stop":
        stops = torch.ones_like(stops)
    if kind == "words":
        largest = difference.abs().argmax(-1, keepdim=True)
        difference = torch.zeros_like(difference).scatter(-1, largest, difference.gather(-1, largest).sign())
    return torch.nn.functional.normalize(difference, dim=-1).masked_fill(stops, torch.nan)


def corrected(
    robot_action: Float[Tensor, "*batch actions"], direction: Float[Tensor, "*batch actions"]
) -> Float[Tensor, "*batch actions"]:
    """Return what a robot executes that is corrected: zero after a stop, otherwise its own action and a step more."""
    stopped = direction.isnan().any(-1, keepdim=True)
    return torch.where(stopped, 0.0, robot_action + STEP * direction.nan_to_num())
