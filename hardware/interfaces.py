"""Interfaces of the hardware that the rest of the code uses: clock, robot, camera."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Clock(Protocol):
    """Time, of this machine (`mile.hardware.widowx.WallClock`) or simulated (a simulated bus)."""

    def now(self) -> float:
        """Return the time, s."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class RobotState(NamedTuple):
    """A robot's measurement of itself.

    Attributes:
        position: Position of the end effector in the base's frame, `[3]`, m.
        angles: Angles of the joints, `[joints]`, rad.
        gripper: Opening of the gripper, in [0, 1]; 1 is open.
        time: Time of the measurement on the robot's clock, s.
    """

    position: NDArray[np.float64]
    angles: NDArray[np.float64]
    gripper: float
    time: float


class Robot(Protocol):
    """An arm that is moved by small Cartesian steps."""

    def connect(self) -> None:
        """Find the arm, check it, and move slowly to where episodes begin."""
        ...

    def observe(self) -> RobotState:
        """Measure the arm's state now."""
        ...

    def send_action(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move for a control step by an action (dx, dy, dz, gripper) `[4]` in [−1, 1]; gripper 1 closes.

        Returns:
            The action that was really sent, in the same units, when the step's time is over.
        """
        ...

    def reset(self) -> None:
        """Move slowly to where episodes begin."""
        ...

    def hold(self) -> None:
        """Stop now, and stay there."""
        ...

    def close(self) -> None:
        """Move slowly to rest, and release the arm; a second call does nothing."""
        ...


class Camera(Protocol):
    """Takes pictures."""

    def read(self) -> tuple[NDArray[np.uint8], float]:
        """Return the newest picture, `[height, width, 3]` RGB, and when it was taken, s, on the robot's clock."""
        ...

    def close(self) -> None:
        """Release the camera."""
        ...
