import pytest

from mile.hardware.devices.gamepad import Gamepad
from mile.humans.controls import TAKE_OVER, Controls
from mile.humans.keymaps import ARM, LANDER


def test_sticks_and_buttons_have_a_browsers_names(pad):
    gamepad = Gamepad()
    assert gamepad.read() == Controls()

    # move and press
    pad.axis(0, -32768)
    pad.axis(3, 16384)
    for button in (0, 10, 11):  # SDL's A, right shoulder, up
        pad.button(button, 1)
    pad.axis(5, 32767)  # right trigger

    # read
    controls = gamepad.read()
    assert controls.pressed == {"Pad0", "Pad5", "Pad12", "Pad7"}
    assert controls.axes == pytest.approx((-1.0, 0.0, 0.0, 0.5), abs=1e-3)
    assert controls.held(TAKE_OVER)
    assert LANDER.action(controls, None) == 2
    assert ARM.action(controls, None).tolist() == pytest.approx([-1, 0, -(0.5 - 0.15) / 0.85, 1], abs=1e-3)


def test_an_unplugged_pad_is_gone_and_read_again_when_it_is_back(pad):
    gamepad = Gamepad()
    pad.unplug()
    assert gamepad.read() is None
    pad.plug()
    pad.button(1, 1)
    gamepad.read()
    pad.button(1, 1)
    assert gamepad.read().pressed == {"Pad1"}


def test_an_absent_pad_is_named(pad):
    with pytest.raises(ConnectionError, match=r"gamepad 1 is asked for, 1 are there.*mile-devices"):
        Gamepad(1)
