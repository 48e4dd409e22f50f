"""The effort that a recording took of the human."""

from typing import NamedTuple

import torch
from tensordict import TensorDictBase


class Effort(NamedTuple):
    """A human's effort in some episodes.

    Attributes:
        seconds: Time in control, s: number of steps with ν=1 times the median time between two steps. (With a simulated
            human it is computing time.)
        takeovers: Number of runs of steps with ν=1.
        takeover_length: Mean length of these runs, steps; 0 without any.
    """

    seconds: float
    takeovers: int
    takeover_length: float


def effort(steps: TensorDictBase) -> Effort:
    """Sum up recorded steps `[steps]` of whole episodes, each in order."""
    intervened, goes_on = steps["intervened"], steps["step"] > 0

    # takeovers: ν=1, and not in the step before
    no_step = torch.zeros(1, dtype=torch.bool)
    before = torch.cat([no_step, intervened[:-1]]) & goes_on
    takeovers, acted = int((intervened & ~before).sum()), int(intervened.sum())

    # time between two steps of one episode
    between = steps["timestamp"].diff()[goes_on[1:]]
    period = float(between.median()) if len(between) else 0.0
    return Effort(acted * period, takeovers, acted / max(takeovers, 1))
