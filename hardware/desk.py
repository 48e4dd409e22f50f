"""The real desk: an arm and a webcam; a person sets the task up, and says whether it is solved."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.hardware.camera import Webcam
from mile.hardware.safety import Limits
from mile.hardware.widowx import WidowX

LOADING = 5.0  # s


class Desk:
    """A WidowX and a webcam; see `mile.hardware.robot_env.Bench`.

    Args:
        port: of the arm's adapter.
        rate: of control steps, Hz.
        camera: number of the webcam.
        place: of the box, `[2]`, m, in the arm's frame, if it stands where it is.
        limits: of the arm; see `Limits`.
    """

    def __init__(
        self,
        port: str = "/dev/ttyUSB0",
        rate: float = 5.0,
        camera: int | str = 0,
        place: tuple[float, float] | None = None,
        limits: dict[str, Any] | None = None,
    ) -> None:
        given: Any = {name: tuple(it) if isinstance(it, Iterable) else it for name, it in (limits or {}).items()}
        self.robot = WidowX(port, rate, Limits(**given))
        self.number, self.place = camera, place
        self._camera: Webcam | None = None

    @property
    def camera(self) -> Webcam:
        """The webcam, opened when it is first wanted."""
        if self._camera is None:
            self._camera = Webcam(self.number)
        return self._camera

    def prepare(self, seed: int) -> None:
        """Open the gripper, give the person time to put the block into it, and close it."""
        print(f"put the block between the fingers: they close in {LOADING:.0f} s", flush=True)
        for close, seconds in ((-1.0, LOADING), (1.0, 1.0)):
            self.robot.grip(close)
            self.robot.wait(seconds)

    def box(self) -> NDArray[np.float64]:
        """Return where the box was said to be, `[2]`, m; see `Bench`."""
        return np.full(2, np.nan) if self.place is None else np.array(self.place)

    def success(self) -> bool:
        """Return False: the person says when the task is solved."""
        return False

    def close(self) -> None:
        """Bring the arm to rest, and let go of both."""
        try:
            self.robot.close()
        finally:
            if self._camera is not None:
                self._camera.close()
