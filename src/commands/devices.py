"""List the input devices, and test what they read.

mile-devices
mile-devices test gamepad
mile-devices test quest
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from glob import glob
from typing import TYPE_CHECKING

import numpy as np

from mile.running.command_line import one_line_errors

if TYPE_CHECKING:
    from mile.humans.controls import Controls, InputDevice

DEVICES = ("gamepad", "spacemouse", "quest")
AXIS_NAMES = ("left ↔", "left ↕", "right ↔", "right ↕")
AXES = {"gamepad": (0, 1, 2, 3), "spacemouse": (0, 1, 3)}  # that a device has
MIN_DEFLECTION = 0.5  # an axis that was tried out has been beyond this, and within it
MIN_HAND_TRAVEL = 0.1  # m; a hand that was tried out has moved so far
CURES = {  # for files that may not be read
    "/dev/input/js*": "sudo usermod -aG input $USER, and log in again",
    "/dev/hidraw*": """put 'KERNEL=="hidraw*", MODE="0666"' into /etc/udev/rules.d/70-hid.rules, and replug""",
}


def find() -> Iterator[str]:
    """Yield a line for each device, and for each file that may not be read."""
    from mile.hardware.devices.gamepad import Gamepad, find_gamepads
    from mile.hardware.devices.quest import find_quests
    from mile.hardware.devices.spacemouse import find_spacemice

    # gamepads
    gamepads, unknown = find_gamepads()
    for number in range(len(gamepads)):
        pad = Gamepad(number)
        yield f"gamepad {number}: {pad.name}"
        pad.close()
    for name in unknown:
        yield f"joystick: {name}, which SDL has no map of; give it one in SDL_GAMECONTROLLERCONFIG"
    if not gamepads:
        yield "gamepad: none; plug one in or pair it (a PS3 pad: press PS)"

    # other devices
    for mouse in find_spacemice():
        yield f"SpaceMouse: {mouse}"
    for quest in find_quests():
        yield f"Meta Quest: {quest}"

    # permissions
    for pattern, cure in CURES.items():
        closed = [path for path in sorted(glob(pattern)) if not os.access(path, os.R_OK)]
        if closed:
            yield f"no permission to read {', '.join(closed)}: {cure}"


def connect(name: str) -> InputDevice:
    """Open the input device of this name, one of `DEVICES`."""
    from mile.hardware.devices.gamepad import Gamepad
    from mile.hardware.devices.quest import Quest
    from mile.hardware.devices.spacemouse import SpaceMouse

    device_classes = {"gamepad": Gamepad, "spacemouse": SpaceMouse, "quest": Quest}
    return device_classes[name]()


def watch(device: InputDevice, seconds: float) -> Iterator[Controls | None]:
    """Yield what a device reads, twenty times a second, and show it on one line."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        controls = device.read()
        if controls is None:
            numbers, pressed = "gone", ""
        else:
            numbers = " ".join(f"{value:+.2f}" for value in controls.hand or controls.axes)
            pressed = " ".join(sorted(controls.pressed))
        print(f"\r{numbers}  {pressed:<40}", end="", flush=True)
        yield controls
        time.sleep(0.05)
    print()


def judge(name: str, readings: Iterable[Controls | None]) -> list[str]:
    """Return the faults of a device that was tried out: all sticks moved to their ends, all buttons pressed.

    Args:
        name: One of `DEVICES`.
        readings: What was read of it.
    """
    controls = [reading for reading in readings if reading is not None]
    if not controls:
        return ["the device was not there"]

    # sticks, or a hand
    if name in AXES:
        faults = _judge_sticks(controls, AXES[name])
    else:
        faults = _judge_hand([reading.hand for reading in controls if reading.hand])

    # buttons
    if not any(reading.pressed for reading in controls):
        faults.append("no button was pressed")
    return faults


def _judge_hand(hands: list[tuple[float, float, float]]) -> list[str]:
    if not hands or np.ptp(hands, axis=0).max() < MIN_HAND_TRAVEL:
        return [f"the hand never moved as far as {MIN_HAND_TRAVEL} m while its clutch was closed"]
    return []


def _judge_sticks(controls: list[Controls], axes: Iterable[int]) -> list[str]:
    faults = []
    for axis in axes:
        name = AXIS_NAMES[axis]
        deflections = [abs(reading.axes[axis]) for reading in controls]
        if max(deflections) < MIN_DEFLECTION:
            faults.append(f"{name} never moved beyond {max(deflections):.2f}: it is broken, or was not tried")
        elif min(deflections) > MIN_DEFLECTION:
            faults.append(f"{name} was never at rest: let go of it, or have the device calibrated")
    return faults


@one_line_errors
def main() -> None:
    """Parse the command line, and list or test the devices."""
    parser = argparse.ArgumentParser("mile-devices", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    test = commands.add_parser("test", help="show live what a device reads, and what never moved")
    test.add_argument("device", choices=DEVICES)
    test.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()

    # list the devices, or open one
    try:
        if arguments.command is None:
            print(*find(), sep="\n")
            return
        device = connect(arguments.device)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install '.[devices]' in the checkout's folder") from None

    # test it
    print(f"{device.name}: move every stick to its ends and press every button, {arguments.seconds:.0f} s")
    faults = judge(arguments.device, watch(device, arguments.seconds))
    device.close()
    print(*(faults or ["all of it works"]), sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
