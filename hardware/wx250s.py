"""The parts of a WidowX 250 (6 DoF): its servos, their limits, and two poses.

Source: Trossen's tables of the arm.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mile.hardware import dynamixel as dxl

XM430, XL430 = 1020, 1060  # model numbers
CENTRE, TURN = 2048, 4096  # raw position of the angle 0; raw length of a full turn
NO_SHADOW = 255  # SECONDARY_ID of a servo that shadows none


def angles_of(raw: Sequence[float]) -> NDArray[np.float64]:
    """Return joint angles, rad, of raw positions."""
    return (np.array(raw) - CENTRE) * 2 * np.pi / TURN


def raw_of(angles: NDArray[np.float64]) -> list[int]:
    """Return the raw positions of joint angles, rad."""
    return [round(float(angle) * TURN / (2 * np.pi)) + CENTRE for angle in angles]


class ServoFacts(NamedTuple):
    """Facts about one servo of the arm.

    Attributes:
        name: Name for messages.
        model: Model number.
        low: Least raw position.
        high: Greatest raw position.
        shadows: Id of the servo that it shadows; None if it shadows none.
        reversed: Whether its direction is reversed.
    """

    name: str
    model: int
    low: int
    high: int
    shadows: int | None = None
    reversed: bool = False


SERVOS = {
    1: ServoFacts("waist", XM430, 0, 4095),
    2: ServoFacts("shoulder", XM430, 819, 3345),
    3: ServoFacts("shoulder shadow", XM430, 819, 3345, shadows=2, reversed=True),
    4: ServoFacts("elbow", XM430, 648, 3094),
    5: ServoFacts("elbow shadow", XM430, 648, 3094, shadows=4, reversed=True),
    6: ServoFacts("forearm roll", XM430, 0, 4095),
    7: ServoFacts("wrist angle", XM430, 910, 3447, reversed=True),
    8: ServoFacts("wrist rotate", XL430, 0, 4095),
    9: ServoFacts("gripper", XL430, 0, 4095),
}
NAMES = {number: facts.name for number, facts in SERVOS.items()}
JOINT_SERVOS: tuple[int, ...] = (1, 2, 4, 6, 7, 8)  # ids, in the joints' order; shadows follow their masters
GRIPPER = 9  # id
MODES = {GRIPPER: dxl.PWM_MODE}  # OPERATING_MODE of the servos that are not driven to positions

GRIPPER_RAW = (1500, 2900)  # raw positions: shut and open
JOINT_LOW = angles_of([SERVOS[number].low for number in JOINT_SERVOS])  # rad
JOINT_HIGH = angles_of([SERVOS[number].high for number in JOINT_SERVOS])  # rad
SLEEP = np.array([0, -1.80, 1.55, 0, 0.8, 0])  # rad: at rest
READY = np.array([0, -0.1961, 0.2240, 0, 1.5429, 0])  # rad: gripper down, 0.2 m above the middle of the workspace
