import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mile.humans.takeover import TakeOver


def test_hold_gives_control_while_a_control_is_held():
    takeover = TakeOver("hold")
    pressed = [False, True, True, False, False]
    assert [takeover.update(button, 0.0) for button in pressed] == pressed
    assert [takeover.update(False, deflection) for deflection in (0.0, 1.0, 0.0)] == [False, True, False]


def test_toggle_switches_with_each_press_and_not_with_movements():
    takeover = TakeOver("toggle")
    pressed = [False, True, True, False, False, True, False]
    assert [takeover.update(button, 1.0) for button in pressed] == [False, True, True, True, True, False, False]


@given(st.lists(st.floats(0, 0.29), min_size=1))
def test_an_axis_that_trembles_is_no_intervention(deflections):
    takeover = TakeOver("hold", engage=0.3, release=0.1)
    assert not any(takeover.update(False, deflection) for deflection in deflections)


def test_noise_around_a_threshold_switches_once():
    takeover, rng = TakeOver("hold", engage=0.3, release=0.1), np.random.default_rng(0)
    deflections = np.interp(np.arange(200), [0, 50, 150, 199], [0, 1, 1, 0]) + rng.normal(0, 0.03, 200)
    control = [takeover.update(False, deflection) for deflection in deflections]
    assert sum(now != then for now, then in zip(control[1:], control[:-1], strict=True)) == 2


@pytest.mark.parametrize(
    "wrong", [{"mode": "grab"}, {"engage": 0.1, "release": 0.2}, {"engage": 1.5}, {"release": 0.0}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|must be"):
        TakeOver(**wrong)
