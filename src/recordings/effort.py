"""The effort that a recording took of the human."""

from typing import NamedTuple

from tensordict import TensorDictBase

from mile.transitions import asked, onsets


class Effort(NamedTuple):
    """A human's effort in some episodes.

    Attributes:
        seconds: Time in control, s: number of steps with ν=1 times the median time between two steps. (With a simulated
            human it is computing time.)
        takeovers: Number of runs of steps with ν=1.
        takeover_length: Mean length of these runs, steps; 0 without any.
        requests: Number of times that the human was asked to act.
    """

    seconds: float
    takeovers: int
    takeover_length: float
    requests: int


def effort(steps: TensorDictBase) -> Effort:
    """Sum up recorded steps `[steps]` of whole episodes, each in order."""
    intervened, goes_on = steps["intervened"], steps["step"] > 0
    takeovers, acted = int(onsets(intervened, steps["step"]).sum()), int(intervened.sum())
    requests = int(onsets(asked(steps), steps["step"]).sum())

    # time between two steps of one episode
    between = steps["timestamp"].diff()[goes_on[1:]]
    period = float(between.median()) if len(between) else 0.0
    return Effort(acted * period, takeovers, acted / max(takeovers, 1), requests)
