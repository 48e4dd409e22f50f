import os

import pytest

os.environ["SDL_VIDEODRIVER"] = "dummy"  # no screen
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"


@pytest.fixture
def pad():
    pytest.importorskip("pygame")
    from mile.hardware.devices.gamepad import find_gamepads
    from tests.hardware.virtual_pad import VirtualPad

    find_gamepads()  # SDL runs
    virtual = VirtualPad()
    yield virtual
    if find_gamepads()[0]:
        virtual.unplug()


@pytest.fixture
def make():
    """A function that makes a simulated arm with its real driver; the arms are closed at the end."""
    from tests.hardware.tracked_arm import TrackedArm

    tracked = []

    def build(*arguments, **options):
        tracked.append(TrackedArm(*arguments, **options))
        return tracked[-1]

    yield build
    for bench in tracked:
        bench.arm.close()
        bench.bus.close()
