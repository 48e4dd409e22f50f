"""Is the arm fit to work? Nothing moves.

mile-doctor
mile-doctor hardware=simulated hardware.fault=overheat
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from mile.hardware import dynamixel as dxl
from mile.hardware.interfaces import Clock
from mile.hardware.safety import Limits, SafetyError, SafetyKernel, ServoState
from mile.hardware.servos import SLACK, Servos
from mile.hardware.wx250s import HIGH, LOW, NAMES, SERVOS
from mile.running.command_line import entry_point

QUICK = 1  # ms, of the adapter's latency timer


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: it is.
        well: whether it is as it should be; None: it could not be said, or may be missing.
        words: what was found, and what to do about it.
    """

    what: str
    well: bool | None
    words: str


def examine(robot: Any, camera: Any) -> Iterator[Finding]:
    """Look at everything that the robot experiment needs.

    Args:
        robot: a `WidowX` that is not connected.
        camera: makes a camera.
    """
    from mile.hardware.gamepad import find_gamepads

    port = list(_port(robot.port))
    yield from port
    if all(finding.well for finding in port if finding.what == "port"):
        try:
            with closing(Servos(robot.port)) as bus:
                yield from _servos(bus, robot.kernel.limits)
        except ConnectionError as error:  # somebody else has the port, or a servo has fallen silent
            yield Finding("servos", False, str(error))
    yield from _camera(camera, robot.clock)
    gamepads, _ = find_gamepads()
    words = "found" if gamepads else "none; plug one in or pair it, or take over at the browser"
    yield Finding("gamepad", bool(gamepads) or None, words)


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
        found = int(timer.read_text())
        cure = "" if found <= QUICK else f"; echo {QUICK} | sudo tee {timer}"
        yield Finding("latency timer", found <= QUICK, f"{found} ms{cure}")


def _servos(bus: Servos, limits: Limits) -> Iterator[Finding]:
    present = []
    for number, facts in SERVOS.items():
        what, model = f"servo {number} ({facts.name})", bus.ping(number)
        if model is None:
            yield Finding(
                what, False, "does not answer: check its cable, its id and baud rate (1 Mbps), the 12 V supply"
            )
            continue
        present.append(number)
        if model != facts.model:
            yield Finding(what, False, f"is model {model}, expected {facts.model}: another servo has this id")
            continue
        yield _health(bus, number, what, limits)
    for number, facts in SERVOS.items():
        if facts.shadows is not None and {number, facts.shadows} <= set(present):
            mode = bus.read(dxl.DRIVE_MODE, [number])[number]
            if not mode & dxl.REVERSED:  # its position is then another one's
                yield Finding(
                    f"servo {number} beside servo {facts.shadows}", None, "not set up yet: connect once, look again"
                )
                continue
            raw = bus.read(dxl.PRESENT_POSITION, (number, facts.shadows))
            apart = abs(raw[number] - raw[facts.shadows])
            cure = f"; set its Homing_Offset so that it reads as servo {facts.shadows}, or the two fight and overload"
            yield Finding(
                f"servo {number} beside servo {facts.shadows}",
                apart <= SLACK,
                f"{apart} raw apart" + cure * (apart > SLACK),
            )


def _health(bus: Servos, number: int, what: str, limits: Limits) -> Finding:
    error, temperature, voltage = (
        bus.read(register, [number])[number] for register in (dxl.HARDWARE_ERROR, dxl.TEMPERATURE, dxl.INPUT_VOLTAGE)
    )
    state = ServoState(False, error, 0, 0, 0, voltage / 10, temperature)
    try:
        SafetyKernel(limits, LOW, HIGH).check(NAMES, {number: state})
    except SafetyError as trouble:
        return Finding(what, False, str(trouble).removeprefix(f"{what} "))
    return Finding(what, True, f"{temperature} °C, {voltage / 10:.1f} V")


def _camera(camera: Any, clock: Clock) -> Iterator[Finding]:
    try:
        opened = camera()
        first, began = opened.read()
        clock.sleep(0.5)
        second, ended = opened.read()
    except (ConnectionError, RuntimeError) as error:
        yield Finding("camera", False, str(error))
        return
    if began == ended:
        yield Finding("camera", False, "shows the same picture again: plug it in anew, on a port of its own")
    elif np.ptp(second) < 10:
        yield Finding("camera", False, "sees one colour only: take the cap off, put a light on")
    else:
        yield Finding("camera", True, f"{first.shape[1]}×{first.shape[0]} pixels")


@entry_point("doctor")
def main(cfg: DictConfig) -> None:
    """Print what was found; exit with 1 if something is wrong."""
    bench = instantiate(cfg.hardware)()
    findings = []
    try:
        for finding in examine(bench.robot, lambda: bench.camera):
            mark = {True: "ok", False: "WRONG", None: "-"}[finding.well]
            print(f"{mark:<6}{finding.what:<32}{finding.words}", flush=True)
            findings.append(finding)
    finally:
        bench.close()
    wrong = [finding.what for finding in findings if finding.well is False]
    print(f"not fit to work: {', '.join(wrong)}" if wrong else "fit to work")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
