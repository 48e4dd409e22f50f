import struct

import pytest
from easyhid import HIDException

from mile.hardware.devices.spacemouse import SpaceMouse, find_spacemice
from mile.humans.controls import Controls
from mile.humans.keymaps import ARM

pyspacemouse = pytest.importorskip("pyspacemouse")


class Cable:
    """The HID device below the real parser of reports."""

    def __init__(self):
        self.reports, self.cut = [], False

    def read(self, size):
        if self.cut:
            raise HIDException("gone")
        return self.reports.pop(0) if self.reports else b""

    def close(self):
        self.cut = True


@pytest.fixture
def cable(monkeypatch):
    simulated = Cable()

    def open_simulated(axis_convention):
        info = pyspacemouse.get_device_specs()["SpaceNavigator"]
        info = pyspacemouse.apply_axis_convention(info, axis_convention)
        return pyspacemouse.SpaceMouseDevice(info, simulated)

    monkeypatch.setattr(pyspacemouse, "open", open_simulated)
    return simulated


def moved(x, y, z):
    return b"\x01" + struct.pack("<3h", x, y, z)


def test_the_cap_is_read_as_sticks_and_the_newest_report_counts(cable):
    mouse = SpaceMouse()
    assert mouse.read() == Controls()
    cable.reports = [moved(10, 10, 10), moved(350, 0, -350), b"\x03\x01"]  # right and up; the left button
    controls = mouse.read()
    assert controls.axes == pytest.approx((1, 0, 0, -1))
    assert ARM.action(controls, None).tolist() == pytest.approx([1, 0, 1, 1])


def raise_nothing_there():
    raise RuntimeError("no device")


def test_a_mouse_that_is_pulled_out_is_gone_until_it_is_plugged_in_again(cable, monkeypatch):
    mouse = SpaceMouse()
    cable.cut = True
    assert mouse.read() is None
    with monkeypatch.context() as patch:
        patch.setattr(pyspacemouse, "open", lambda axis_convention: raise_nothing_there())
        assert mouse.read() is None
    cable.cut, cable.reports = False, [moved(350, 0, 0)]
    assert mouse.read().axes == pytest.approx((1, 0, 0, 0))
    mouse.close()


def test_without_a_mouse_the_message_says_what_to_do():
    assert len(find_spacemice()) == 1
    with pytest.raises(ConnectionError, match=r"no SpaceMouse can be read.*mile-devices"):
        SpaceMouse()
