import os

import pytest

os.environ["SDL_VIDEODRIVER"] = "dummy"  # no screen
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"


@pytest.fixture
def pad():
    pytest.importorskip("pygame")
    from mile.hardware.gamepad import find_gamepads
    from tests.hardware.virtual_pad import VirtualPad

    find_gamepads()  # SDL runs
    virtual = VirtualPad()
    yield virtual
    if find_gamepads()[0]:
        virtual.unplug()
