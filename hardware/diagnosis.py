"""Checks of everything that the robot experiment needs; nothing moves."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mile.hardware import dynamixel as dxl
from mile.hardware.devices.gamepad import find_gamepads
from mile.hardware.interfaces import Clock
from mile.hardware.safety import Limits, SafetyError, SafetyKernel, ServoState
from mile.hardware.servos import MAX_SHADOW_ERROR, Servos
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, NAMES, SERVOS

MAX_LATENCY = 1  # ms, of the adapter's latency timer


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        part: Name of the part that was checked.
        ok: Whether the part is as it should be; None: unknown, or the part is optional and missing.
        message: Description of the part's state, and advice if something is wrong.
    """

    part: str
    ok: bool | None
    message: str


def examine(robot: Any, camera: Any) -> Iterator[Finding]:
    """Check everything that the robot experiment needs.

    Args:
        robot: A `WidowX` that is not connected.
        camera: Function that makes a camera.
    """
    # port
    findings = list(_port(robot.port))
    yield from findings

    # servos
    if all(finding.ok for finding in findings if finding.part == "port"):
        try:
            with closing(Servos(robot.port)) as bus:
                models = {number: bus.ping(number) for number in SERVOS}
                yield from _servos(bus, models, robot.kernel.limits)
                yield from _shadows(bus, models)
        except ConnectionError as error:  # another program has the port, or a servo has fallen silent
            yield Finding("servos", False, str(error))

    # camera and gamepad
    yield from _camera(camera, robot.clock)
    gamepads, _ = find_gamepads()
    if gamepads:
        yield Finding("gamepad", True, "found")
    else:
        yield Finding("gamepad", None, "none; plug one in or pair it, or take over at the browser")


def _port(port: str) -> Iterator[Finding]:
    if not Path(port).exists():
        yield Finding("port", False, f"{port} is not there; plug the adapter in, and see: ls /dev/ttyUSB*")
        return
    if not os.access(port, os.R_OK | os.W_OK):
        yield Finding("port", False, f"no permission for {port}: sudo usermod -aG dialout $USER, and log in again")
        return
    yield Finding("port", True, port)

    timer = Path("/sys/bus/usb-serial/devices") / Path(port).name / "latency_timer"
    if timer.exists():
        latency = int(timer.read_text())
        if latency <= MAX_LATENCY:
            yield Finding("latency timer", True, f"{latency} ms")
        else:
            yield Finding("latency timer", False, f"{latency} ms; echo {MAX_LATENCY} | sudo tee {timer}")


def _servos(bus: Servos, models: dict[int, int | None], limits: Limits) -> Iterator[Finding]:
    for number, facts in SERVOS.items():
        part, model = f"servo {number} ({facts.name})", models[number]
        if model is None:
            yield Finding(
                part, False, "does not answer: check its cable, its id and baud rate (1 Mbps), the 12 V supply"
            )
        elif model != facts.model:
            yield Finding(part, False, f"is model {model}, expected {facts.model}: another servo has this id")
        else:
            yield _health(bus, number, part, limits)


def _health(bus: Servos, number: int, part: str, limits: Limits) -> Finding:
    error = bus.read(dxl.HARDWARE_ERROR, [number])[number]
    temperature = bus.read(dxl.TEMPERATURE, [number])[number]
    voltage = bus.read(dxl.INPUT_VOLTAGE, [number])[number] / 10
    state = ServoState(
        torque=False, error=error, watchdog=0, goal=0, position=0, voltage=voltage, temperature=temperature
    )
    try:
        SafetyKernel(limits, JOINT_LOW, JOINT_HIGH).check(NAMES, {number: state})
    except SafetyError as trouble:
        return Finding(part, False, str(trouble).removeprefix(f"{part} "))
    return Finding(part, True, f"{temperature} °C, {voltage:.1f} V")


def _shadows(bus: Servos, models: dict[int, int | None]) -> Iterator[Finding]:
    """Check that servos which turn one joint report the same position."""
    for number, facts in SERVOS.items():
        if facts.shadows is None or models[number] is None or models[facts.shadows] is None:
            continue
        part = f"servo {number} beside servo {facts.shadows}"

        # a servo that is not set up turns the other way, and its position cannot be compared
        mode = bus.read(dxl.DRIVE_MODE, [number])[number]
        if not mode & dxl.REVERSED:
            yield Finding(part, None, "not set up yet: connect once, look again")
            continue

        raw = bus.read(dxl.PRESENT_POSITION, (number, facts.shadows))
        apart = abs(raw[number] - raw[facts.shadows])
        if apart <= MAX_SHADOW_ERROR:
            yield Finding(part, True, f"{apart} raw apart")
        else:
            yield Finding(
                part,
                False,
                f"{apart} raw apart; set its Homing_Offset so that it reads as servo {facts.shadows}, or the two fight "
                "and overload",
            )


def _camera(camera: Any, clock: Clock) -> Iterator[Finding]:
    # two pictures, half a second apart
    try:
        opened = camera()
        first, first_time = opened.read()
        clock.sleep(0.5)
        second, second_time = opened.read()
    except (ConnectionError, RuntimeError) as error:
        yield Finding("camera", False, str(error))
        return

    if first_time == second_time:
        yield Finding("camera", False, "shows the same picture again: plug it in anew, on a port of its own")
    elif np.ptp(second) < 10:
        yield Finding("camera", False, "sees one colour only: take the cap off, put a light on")
    else:
        yield Finding("camera", True, f"{first.shape[1]}×{first.shape[0]} pixels")
