"""Whole attempts out of flat recordings."""

import pytest
import torch
from tensordict import TensorDict

from mile.timing.attempts import attempt_rows


def recording(*attempts):
    """Return steps of attempts (round, episode, steps); steps are a length, or the numbers of the steps."""
    entries = {"round": [], "episode": [], "step": []}
    for number, episode, steps in attempts:
        for step in range(steps) if isinstance(steps, int) else steps:
            for name, value in zip(entries, (number, episode, step), strict=True):
                entries[name].append(value)
    tensors = {name: torch.tensor(values, dtype=torch.int64) for name, values in entries.items()}
    return TensorDict(tensors, [len(entries["step"])])


def test_attempts_of_several_rounds_are_padded_at_their_ends_by_their_last_rows():
    rows, valid = attempt_rows(recording((0, 0, 3), (0, 1, 1), (1, 0, 2), (1, 7, 4)))
    assert rows.tolist() == [[0, 1, 2, 2], [3, 3, 3, 3], [4, 5, 5, 5], [6, 7, 8, 9]]
    assert valid.sum(-1).tolist() == [3, 1, 2, 4]
    assert (valid.int().diff(dim=-1) <= 0).all()


def test_what_is_known_of_the_steps_of_attempts_becomes_flat_again():
    steps = recording((0, 0, 3), (0, 1, 1), (1, 0, 2), (1, 7, 4), (1, 8, 1))
    rows, valid = attempt_rows(steps)
    assert rows[valid].tolist() == list(range(len(steps)))
    for name in ("round", "episode", "step"):
        assert torch.equal(steps[name][rows][valid], steps[name])


@pytest.mark.parametrize("length", [1, 5])
def test_one_attempt(length):
    rows, valid = attempt_rows(recording((2, 3, length)))
    assert rows.tolist() == [list(range(length))]
    assert valid.all()


def test_no_steps_are_no_attempts():
    rows, valid = attempt_rows(recording())
    assert rows.shape == valid.shape == (0, 0)


def test_attempts_of_the_same_episode_in_two_rounds_and_of_the_same_number_twice_are_kept_apart():
    _, valid = attempt_rows(recording((0, 5, 2), (1, 5, 3), (1, 5, 2)))
    assert valid.sum(-1).tolist() == [2, 3, 2]


@pytest.mark.parametrize(
    ("attempts", "step", "episode"),
    [
        ([(0, 0, 3), (0, 1, [1, 2])], 1, 1),  # the first step is missing
        ([(0, 0, [1, 2, 3])], 1, 0),
        ([(0, 4, [0, 1, 3, 4])], 3, 4),  # a gap in the middle
        ([(0, 4, [0, 1, 1, 2])], 1, 4),  # a step twice
        ([(0, 4, [0, 1]), (0, 5, [2, 3])], 2, 5),  # torn from another episode
        ([(0, 4, [0, 1]), (1, 4, [2])], 2, 4),  # torn from another round
        ([(0, 0, [7]), (0, 1, [3])], 7, 0),  # single steps
        ([(0, 0, [2, 1, 0])], 2, 0),  # in the wrong order
    ],
)
def test_torn_attempts_are_refused_in_one_line(attempts, step, episode):
    with pytest.raises(
        ValueError, match=f"whole attempts are needed, got step {step} of episode {episode} without"
    ) as error:
        attempt_rows(recording(*attempts))
    assert "\n" not in str(error.value)
    assert "method.timing=memoryless" in str(error.value)
