"""Which input devices are there, and what they read.

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
AXES = ("left ↔", "left ↕", "right ↔", "right ↕")
MOVED = 0.5  # from rest; an axis that was tried gets there
FAR = 0.1  # m; a hand that was tried has moved so far
PERMISSIONS = {
    "/dev/input/js*": "sudo usermod -aG input $USER, and log in again",
    "/dev/hidraw*": """put 'KERNEL=="hidraw*", MODE="0666"' into /etc/udev/rules.d/70-hid.rules, and replug""",
}


def find() -> Iterator[str]:
    """Yield a line for each device, and for each that may not be read."""
    from mile.hardware.gamepad import Gamepad, find_gamepads
    from mile.hardware.quest import find_quests
    from mile.hardware.spacemouse import find_spacemice

    gamepads, unknown = find_gamepads()
    for number in range(len(gamepads)):
        pad = Gamepad(number)
        yield f"gamepad {number}: {pad.name}"
        pad.close()
    for name in unknown:
        yield f"joystick: {name}, which SDL has no map of; give it one in SDL_GAMECONTROLLERCONFIG"
    if not gamepads:
        yield "gamepad: none; plug one in or pair it (a PS3 pad: press PS)"
    yield from (f"SpaceMouse: {it}" for it in find_spacemice())
    yield from (f"Meta Quest: {it}" for it in find_quests())
    for pattern, cure in PERMISSIONS.items():
        closed = [path for path in sorted(glob(pattern)) if not os.access(path, os.R_OK)]
        if closed:
            yield f"no permission to read {', '.join(closed)}: {cure}"


def connect(name: str) -> InputDevice:
    """Open the input device of this name, one of `DEVICES`."""
    from mile.hardware.gamepad import Gamepad
    from mile.hardware.quest import Quest
    from mile.hardware.spacemouse import SpaceMouse

    device_classes = {"gamepad": Gamepad, "spacemouse": SpaceMouse, "quest": Quest}
    return device_classes[name]()


def watch(device: InputDevice, seconds: float) -> Iterator[Controls | None]:
    """Yield what a device reads, twenty times a second, and show it on one line."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        controls = device.read()
        shown = "gone" if controls is None else " ".join(f"{value:+.2f}" for value in controls.hand or controls.axes)
        pressed = " ".join(sorted(controls.pressed)) if controls else ""
        print(f"\r{shown}  {pressed:<40}", end="", flush=True)
        yield controls
        time.sleep(0.05)
    print()


def judge(seen: Iterable[Controls | None]) -> list[str]:
    """Return what is wrong with a device that was tried out: all sticks moved to their ends, all buttons pressed."""
    read = [it for it in seen if it is not None]
    if not read:
        return ["the device was not there"]
    faults, hands = [], [it.hand for it in read if it.hand]
    if hands and np.ptp(hands, axis=0).max() < FAR:
        faults.append(f"the hand never moved as far as {FAR} m while its clutch was closed")
    sticks = [] if hands else zip(AXES, *(it.axes for it in read), strict=True)
    for name, *values in sticks:
        if max(map(abs, values)) < MOVED:
            faults.append(f"{name} never moved beyond {max(map(abs, values)):.2f}: it is broken, or was not tried")
        elif min(map(abs, values)) > MOVED:
            faults.append(f"{name} was never at rest: let go of it, or have the device calibrated")
    if not any(it.pressed for it in read):
        faults.append("no button was pressed")
    return faults


@one_line_errors
def main() -> None:
    """Parse the command line, and list or test the devices."""
    parser = argparse.ArgumentParser("mile-devices", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command")
    test = commands.add_parser("test", help="show live what a device reads, and what never moved")
    test.add_argument("device", choices=DEVICES)
    test.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    try:
        if asked.command is None:
            print(*find(), sep="\n")
            return
        device = connect(asked.device)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install '.[devices]' in the checkout's folder") from None
    print(f"{device.name}: move every stick to its ends and press every button, {asked.seconds:.0f} s")
    faults = judge(watch(device, asked.seconds))
    device.close()
    print(*(faults or ["all of it works"]), sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
