"""The real desk: an arm and a webcam. A person sets the task up, and says whether it is solved."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.hardware.camera import Webcam
from mile.hardware.safety import Limits
from mile.hardware.widowx import WidowX

LOADING_TIME = 5.0  # s, for the person to put the block into the gripper
GRASPING_TIME = 1.0  # s, for the gripper to close


class Desk:
    """A WidowX and a webcam; see `mile.hardware.robot_env.Bench`.

    Args:
        port: Serial port of the arm's adapter.
        rate: Control steps per second, Hz.
        camera: Number of the webcam.
        place: Position of the box, `[2]`, m, in the arm's frame; None: nobody knows it.
        limits: Limits of the arm, by name; see `Limits`.

    Attributes:
        real: True, because a real arm moves here; False for a simulated bench.
    """

    real = True

    def __init__(
        self,
        port: str = "/dev/ttyUSB0",
        rate: float = 5.0,
        camera: int | str = 0,
        place: tuple[float, float] | None = None,
        limits: dict[str, Any] | None = None,
    ) -> None:
        # a config has lists, where `Limits` has tuples
        arguments: dict[str, Any] = {}
        for name, value in (limits or {}).items():
            arguments[name] = tuple(value) if isinstance(value, Iterable) else value

        self.robot = WidowX(port, rate, Limits(**arguments))
        self.number, self.place = camera, place
        self._camera: Webcam | None = None

    @property
    def camera(self) -> Webcam:
        """The webcam, opened when it is first used."""
        if self._camera is None:
            self._camera = Webcam(self.number)
        return self._camera

    def prepare(self, seed: int) -> None:
        """Open the gripper, give the person time to put the block into it, and close it."""
        print(f"put the block between the fingers: they close in {LOADING_TIME:.0f} s", flush=True)
        self.robot.grip(-1.0)
        self.robot.wait(LOADING_TIME)
        self.robot.grip(1.0)
        self.robot.wait(GRASPING_TIME)

    def box(self) -> NDArray[np.float64]:
        """Return the position of the box as configured, `[2]`, m; see `Bench`."""
        return np.full(2, np.nan) if self.place is None else np.array(self.place)

    def success(self) -> bool:
        """Return False: the person says when the task is solved."""
        return False

    def close(self) -> None:
        """Bring the arm to rest, and release the arm and the camera."""
        try:
            self.robot.close()
        finally:
            if self._camera is not None:
                self._camera.close()
