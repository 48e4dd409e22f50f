import pytest
import torch
from tensordict import TensorDict

from mile.recordings.effort import effort


def steps(*episodes, period=0.05):
    """Episodes with the given ν; between two of them a minute passes, and one pause lies within the first."""
    step = torch.cat([torch.arange(len(marks)) for marks in episodes])
    minute = torch.cat([torch.full([len(marks)], 60.0 * i) for i, marks in enumerate(episodes)])
    time = minute.double() + period * step.double()
    time[step >= 3] += 7.0
    intervened = torch.tensor([bool(nu) for marks in episodes for nu in marks])
    return TensorDict({"intervened": intervened, "step": step, "timestamp": time}, [len(step)])


def test_takeovers_end_with_their_episode_and_pauses_are_not_in_control():
    total = effort(steps([0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0]))
    assert total.takeovers == 3
    assert total.takeover_length == 2
    assert total.seconds == pytest.approx(6 * 0.05)


def test_who_only_watches_makes_no_effort():
    assert effort(steps([0, 0, 0])) == (0.0, 0, 0.0, 0)


def test_requests_end_with_their_episode():
    asked = steps([0, 1, 1, 0, 1], [1, 0])
    asked["asked"] = asked["intervened"]
    assert effort(asked).requests == 3
