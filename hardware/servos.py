"""The nine servos of a WidowX 250 (6 DoF): how they are set up, told where to be, and asked how they are.

Source: Trossen's tables of the arm; Robotis' e-manual.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import Bus, ServoError
from mile.hardware.safety import ServoState
from mile.hardware.wx250s import ALONE, ARM, GRIPPER, GRIPPER_RAW, MODES, NAMES, SERVOS, angles_of, raw_of

WATCHDOG = 10  # × 20 ms without a word from here, and the servos hold
SLACK = 20  # raw, between a servo and its shadow: 1.8°
FIRST, LAST = dxl.TORQUE_ENABLE, dxl.TEMPERATURE  # of what is read to know a servo's state
SETTINGS = {
    number: bytes([dxl.TIMED | dxl.REVERSED * it.reversed, MODES.get(number, dxl.POSITION), it.shadows or ALONE])
    for number, it in SERVOS.items()
}  # from DRIVE_MODE on


class Servos(Bus):
    """The arm's servos on their port.

    Args:
        port: such as "/dev/ttyUSB0".

    Raises:
        ConnectionError: the port cannot be opened.
    """

    def __init__(self, port: str) -> None:
        super().__init__(port, NAMES)

    def find(self) -> None:
        """See that all of them answer.

        Raises:
            ServoError: one does not, or is another one's.
        """
        for number, facts in SERVOS.items():
            model = self.ping(number)
            if model != facts.model:
                what = "does not answer" if model is None else f"is model {model}, expected {facts.model}"
                raise ServoError(f"servo {number} ({facts.name}) {what}; run mile-doctor")

    def are_set_up(self) -> bool:
        """Return whether they have the arm's settings."""
        return self.read_bytes(dxl.DRIVE_MODE.address, 3, SERVOS) == SETTINGS

    def set_up(self) -> None:
        """Write the arm's settings, for which they let go."""
        for number in SERVOS:  # a shadow obeys its master's id, too, until it is told not to
            self.set(dxl.TORQUE_ENABLE, number, 0)
            self.set(dxl.SECONDARY_ID, number, ALONE)
        for number, (drive, mode, shadows) in SETTINGS.items():
            self.set(dxl.DRIVE_MODE, number, drive)
            self.set(dxl.OPERATING_MODE, number, mode)
            self.set(dxl.SECONDARY_ID, number, shadows)

    def enable(self, numbers: Iterable[int]) -> None:
        """Turn the torque of some on, the gripper's without a force."""
        for number in numbers:
            if number == GRIPPER:
                self.set(dxl.GOAL_PWM, GRIPPER, 0)
            self.set(dxl.TORQUE_ENABLE, number, 1)

    def let_go(self) -> None:
        """Turn all torque off."""
        self.set(dxl.GOAL_PWM, GRIPPER, 0)
        for number in SERVOS:
            self.set(dxl.TORQUE_ENABLE, number, 0)

    def stay(self, angles: NDArray[np.float64], seconds: float) -> None:
        """Have the joints stay where they are, with watchdogs that begin anew; all of it is acknowledged.

        Args:
            angles: where they are, `[6]`, rad.
            seconds: that each motion to come shall take.
        """
        for number, raw in zip(ARM, raw_of(angles), strict=True):
            self.set(dxl.BUS_WATCHDOG, number, 0)
            self.set(dxl.PROFILE_VELOCITY, number, round(1000 * seconds))
            self.set(dxl.GOAL_POSITION, number, raw)
            self.set(dxl.BUS_WATCHDOG, number, WATCHDOG)

    def stop(self) -> None:
        """Have the joints hold where they are, as far as they answer."""
        for servo in ARM:
            with suppress(ServoError):  # who is silent holds by its watchdog; the others must hold all the same
                if self.ping(servo, tries=1) is not None:
                    self.write(dxl.GOAL_POSITION, self.read(dxl.PRESENT_POSITION, [servo]))

    def measure(self) -> tuple[NDArray[np.float64], float]:
        """Return the joints' angles `[6]`, rad, and how far the gripper is open, in [0, 1]."""
        raw = self.read(dxl.PRESENT_POSITION, (*ARM, GRIPPER))
        shut, opened = GRIPPER_RAW
        return angles_of([raw[it] for it in ARM]), float(np.clip((raw[GRIPPER] - shut) / (opened - shut), 0, 1))

    def states(self) -> dict[int, ServoState]:
        """Return what all of them report."""
        found = self.read_bytes(FIRST.address, LAST.address + LAST.size - FIRST.address, SERVOS)
        return {number: _state(data) for number, data in found.items()}


def check_shadows(states: Mapping[int, ServoState]) -> None:
    """See that servos which turn one joint read alike.

    Raises:
        ServoError: two do not.
    """
    for number, facts in SERVOS.items():
        if facts.shadows and abs(states[number].position - states[facts.shadows].position) > SLACK:
            raise ServoError(f"servo {number} ({facts.name}) does not read as servo {facts.shadows}; run mile-doctor")


def _state(data: bytes) -> ServoState:
    def value(register: dxl.Register) -> int:
        at = register.address - FIRST.address
        return int.from_bytes(data[at : at + register.size], "little", signed=register.signed)

    return ServoState(
        bool(value(dxl.TORQUE_ENABLE)),
        value(dxl.HARDWARE_ERROR),
        value(dxl.BUS_WATCHDOG),
        value(dxl.GOAL_POSITION),
        value(dxl.PRESENT_POSITION),
        value(dxl.INPUT_VOLTAGE) / 10,
        value(dxl.TEMPERATURE),
    )
