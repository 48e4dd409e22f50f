"""What a recording cost the human."""

from typing import NamedTuple

import torch
from tensordict import TensorDictBase


class Effort(NamedTuple):
    """What a human did in some episodes.

    Attributes:
        seconds: in control: steps with ν=1 times the median time between two steps, s; computing time if simulated.
        takeovers: runs of steps with ν=1.
        takeover_length: mean length of these, steps; 0 without any.
    """

    seconds: float
    takeovers: int
    takeover_length: float


def effort(steps: TensorDictBase) -> Effort:
    """Sum up recorded steps `[steps]` of whole episodes, each in order."""
    intervened, goes_on = steps["intervened"], steps["step"] > 0
    before = torch.cat([torch.zeros(1, dtype=torch.bool), intervened[:-1]]) & goes_on
    takeovers, acted = int((intervened & ~before).sum()), int(intervened.sum())
    between = steps["timestamp"].diff()[goes_on[1:]]
    period = float(between.median()) if len(between) else 0.0
    return Effort(acted * period, takeovers, acted / max(takeovers, 1))
