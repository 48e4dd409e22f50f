"""The nine servos of a WidowX 250 (6 DoF): setting them up, sending them to positions, reading their state.

Source: Trossen's tables of the arm; Robotis' e-manual.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import Bus, ServoError
from mile.hardware.safety import ServoState
from mile.hardware.wx250s import GRIPPER, GRIPPER_RAW, JOINT_SERVOS, MODES, NAMES, NO_SHADOW, SERVOS, angles_of, raw_of

WATCHDOG_TICKS = 10  # of 20 ms each; after so long without a packet the servos hold
MAX_SHADOW_ERROR = 20  # raw, between a servo and its shadow: 1.8°
STATE_FIRST, STATE_LAST = dxl.TORQUE_ENABLE, dxl.TEMPERATURE  # registers of a servo's state are between these


def _settings() -> dict[int, bytes]:
    """Return what each servo's registers from DRIVE_MODE on must hold."""
    settings = {}
    for number, facts in SERVOS.items():
        drive_mode = dxl.TIMED | (dxl.REVERSED if facts.reversed else 0)
        settings[number] = bytes([drive_mode, MODES.get(number, dxl.POSITION_MODE), facts.shadows or NO_SHADOW])
    return settings


SETTINGS = _settings()


class Servos(Bus):
    """The arm's servos on their port.

    Args:
        port: Path of the serial port, such as "/dev/ttyUSB0".

    Raises:
        ConnectionError: The port cannot be opened.
    """

    def __init__(self, port: str) -> None:
        super().__init__(port, NAMES)

    def find(self) -> None:
        """Check that all servos answer.

        Raises:
            ServoError: A servo does not answer, or is of another model.
        """
        for number, facts in SERVOS.items():
            model = self.ping(number)
            if model != facts.model:
                problem = "does not answer" if model is None else f"is model {model}, expected {facts.model}"
                raise ServoError(f"servo {number} ({facts.name}) {problem}; run mile-doctor")

    def are_set_up(self) -> bool:
        """Return whether the servos have the arm's settings."""
        return self.read_bytes(dxl.DRIVE_MODE.address, 3, SERVOS) == SETTINGS

    def set_up(self) -> None:
        """Turn the torque off, and write the arm's settings."""
        for number in SERVOS:  # a shadow also obeys its master's id, until its SECONDARY_ID is reset
            self.set(dxl.TORQUE_ENABLE, number, 0)
            self.set(dxl.SECONDARY_ID, number, NO_SHADOW)
        for number, (drive, mode, shadows) in SETTINGS.items():
            self.set(dxl.DRIVE_MODE, number, drive)
            self.set(dxl.OPERATING_MODE, number, mode)
            self.set(dxl.SECONDARY_ID, number, shadows)

    def enable(self, numbers: Iterable[int]) -> None:
        """Turn on the torque of some servos; the gripper's without a force."""
        for number in numbers:
            if number == GRIPPER:
                self.set(dxl.GOAL_PWM, GRIPPER, 0)
            self.set(dxl.TORQUE_ENABLE, number, 1)

    def release(self) -> None:
        """Turn all torque off."""
        self.set(dxl.GOAL_PWM, GRIPPER, 0)
        for number in SERVOS:
            self.set(dxl.TORQUE_ENABLE, number, 0)

    def stay(self, angles: NDArray[np.float64], seconds: float) -> None:
        """Have the joints stay where they are, and restart their watchdogs; the servos acknowledge all of it.

        Args:
            angles: Present angles of the joints, `[6]`, rad.
            seconds: Duration of each motion to come, s.
        """
        for number, raw in zip(JOINT_SERVOS, raw_of(angles), strict=True):
            self.set(dxl.BUS_WATCHDOG, number, 0)
            self.set(dxl.PROFILE_VELOCITY, number, round(1000 * seconds))
            self.set(dxl.GOAL_POSITION, number, raw)
            self.set(dxl.BUS_WATCHDOG, number, WATCHDOG_TICKS)

    def stop(self) -> None:
        """Have all joints that answer hold where they are."""
        for servo in JOINT_SERVOS:
            with suppress(ServoError):  # a silent servo holds by its watchdog; the others must hold all the same
                if self.ping(servo, tries=1) is not None:
                    self.write(dxl.GOAL_POSITION, self.read(dxl.PRESENT_POSITION, [servo]))

    def measure(self) -> tuple[NDArray[np.float64], float]:
        """Return the joints' angles `[6]`, rad, and the gripper's opening, in [0, 1]."""
        raw = self.read(dxl.PRESENT_POSITION, (*JOINT_SERVOS, GRIPPER))
        angles = angles_of([raw[number] for number in JOINT_SERVOS])
        raw_shut, raw_open = GRIPPER_RAW
        return angles, float(np.clip((raw[GRIPPER] - raw_shut) / (raw_open - raw_shut), 0, 1))

    def states(self) -> dict[int, ServoState]:
        """Return the reports of all servos, by id."""
        size = STATE_LAST.address + STATE_LAST.size - STATE_FIRST.address
        contents = self.read_bytes(STATE_FIRST.address, size, SERVOS)
        return {number: _state(data) for number, data in contents.items()}


def check_shadows(states: Mapping[int, ServoState]) -> None:
    """Check that servos which turn one joint report the same position.

    Raises:
        ServoError: The positions of a servo and its shadow differ.
    """
    for number, facts in SERVOS.items():
        if not facts.shadows:
            continue
        if abs(states[number].position - states[facts.shadows].position) > MAX_SHADOW_ERROR:
            raise ServoError(f"servo {number} ({facts.name}) does not read as servo {facts.shadows}; run mile-doctor")


def _state(data: bytes) -> ServoState:
    def value(register: dxl.Register) -> int:
        start = register.address - STATE_FIRST.address
        return int.from_bytes(data[start : start + register.size], "little", signed=register.signed)

    return ServoState(
        torque=bool(value(dxl.TORQUE_ENABLE)),
        error=value(dxl.HARDWARE_ERROR),
        watchdog=value(dxl.BUS_WATCHDOG),
        goal=value(dxl.GOAL_POSITION),
        position=value(dxl.PRESENT_POSITION),
        voltage=value(dxl.INPUT_VOLTAGE) / 10,
        temperature=value(dxl.TEMPERATURE),
    )
