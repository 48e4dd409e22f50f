"""How old a picture is, and what counts in front of one that is too old."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mile.humans.consoles.freshness import Pictures, no_more_than
from mile.humans.controls import TAKE_OVER, Controls

KEYS = st.frozensets(st.sampled_from(["ArrowUp", "ArrowLeft", "KeyC", *TAKE_OVER]))
AXES = st.lists(st.floats(-1, 1), min_size=2, max_size=4).map(tuple)
STATES = st.builds(Controls, KEYS, AXES)


@given(before=STATES, now=STATES)
def test_nothing_new_moves_and_everything_may_be_let_go(before, now):
    left = no_more_than(before, now)
    assert left.pressed <= now.pressed
    assert left.pressed - set(TAKE_OVER) <= before.pressed
    assert left.pressed & set(TAKE_OVER) == now.pressed & set(TAKE_OVER)
    for number, value in enumerate(left.axes):
        held = before.axes[number] if number < len(before.axes) else 0.0
        assert abs(value) <= abs(held)
        assert value * held >= 0
        assert abs(value) <= abs(now.axes[number]) or value == 0


@pytest.mark.parametrize(("interval", "limit"), [(0.05, 0.5), (0.1, 0.5), (0.4, 1.2), (2.0, 6.0)])
def test_a_slow_renderer_has_more_time(interval, limit):
    pictures = Pictures()
    for number in range(10):
        pictures.add(interval * number, True)
    assert pictures.limit() == pytest.approx(limit)


def test_a_pause_between_episodes_is_no_usual_interval():
    pictures = Pictures()
    for time, moves in ((0.0, True), (0.1, True), (0.2, False), (60.0, False), (120.0, True), (120.1, True)):
        pictures.add(time, moves)
    assert list(pictures.intervals) == pytest.approx([0.1, 0.1])


def test_ages():
    pictures = Pictures()
    assert pictures.age(None, 5.0) == 0.0  # nothing is shown yet
    pictures.add(1.0, True)
    pictures.add(2.0, True)
    assert (pictures.age(1, 5.0), pictures.age(2, 5.0)) == (4.0, 3.0)
    assert pictures.age(None, 5.0) == pictures.age(7, 5.0) == math.inf
    for number in range(600):
        pictures.add(3.0 + number, True)
    assert pictures.age(1, 5.0) == math.inf
    assert len(pictures.made) == 500
