"""What the rest of the code needs of hardware."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Clock(Protocol):
    """Time, of this machine or simulated; `time` (now as `monotonic`) or a simulated bus."""

    def now(self) -> float:
        """Return the time, s."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...


class RobotState(NamedTuple):
    """What a robot measures.

    Attributes:
        position: of the end effector in the base's frame, `[3]`, m.
        angles: of the joints, `[joints]`, rad.
        gripper: how far it is open, in [0, 1].
        time: of the measurement, s, on the robot's clock.
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
        """Return what is measured now."""
        ...

    def send_action(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move for a control step by an action (dx, dy, dz, gripper) `[4]` in [−1, 1]; gripper 1 closes.

        Returns:
            What was really sent, in the same units, when the step's time is over.
        """
        ...

    def reset(self) -> None:
        """Move slowly to where episodes begin."""
        ...

    def hold(self) -> None:
        """Stay where it is, now."""
        ...

    def close(self) -> None:
        """Move slowly to rest, and let go of the arm; a second call does nothing."""
        ...


class Camera(Protocol):
    """Takes pictures."""

    def read(self) -> tuple[NDArray[np.uint8], float]:
        """Return the newest picture, `[height, width, 3]` RGB, and when it was taken, s, on the robot's clock."""
        ...

    def close(self) -> None:
        """Let go of the camera."""
        ...
