"""A USB webcam: its newest picture, and the time at which it was taken."""

import os
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST_PICTURE_TIMEOUT = 5.0  # s
SETTLING_TIME = 1.0  # s, in which the camera chooses its exposure


class Webcam:
    """Reads a webcam in a thread of its own, so that the newest picture is always at hand.

    Args:
        number: Number of the camera, or the path of a file with pictures.
        size: Requested width and height, pixels.
        exposure: Fixed exposure in the camera's units; None: the camera chooses for a second and then keeps its choice.

    Raises:
        ConnectionError: The camera cannot be opened, or sends no picture.
    """

    def __init__(
        self, number: int | str = 0, size: tuple[int, int] = (640, 480), exposure: float | None = None
    ) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # OpenCV warns of every backend that it tries
        import cv2

        # open the camera
        self._cv2: Any = cv2
        self.capture = cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise ConnectionError(f"camera {number} cannot be opened; plug it in, close what else uses it, mile-doctor")
        self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
        self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        self.exposure = exposure

        # read it in a thread
        self.newest: tuple[NDArray[np.uint8], float] | None = None
        self.closing = threading.Event()
        self.has_picture = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

        # wait for the first picture
        if not self.has_picture.wait(FIRST_PICTURE_TIMEOUT):
            self.close()
            raise ConnectionError(f"camera {number} shows nothing; plug it in again, mile-doctor")
        self._lock_exposure()

    def read(self) -> tuple[NDArray[np.uint8], float]:
        """Return the newest picture, `[height, width, 3]` RGB, and its time, s; see `Camera`."""
        assert self.newest is not None
        picture, picture_time = self.newest
        return self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB), picture_time

    def close(self) -> None:
        """Stop the thread and release the camera."""
        self.closing.set()
        self.thread.join(2)
        self.capture.release()

    def _watch(self) -> None:
        while not self.closing.is_set():
            success, picture = self.capture.read()
            if not success:
                self.closing.wait(0.01)
                continue
            self.newest = picture, time.monotonic()
            self.has_picture.set()

    def _lock_exposure(self) -> None:
        """Keep the camera from changing its brightness later, because a policy would notice."""
        if self.exposure is None:
            self.closing.wait(SETTLING_TIME)
        else:
            self.capture.set(self._cv2.CAP_PROP_EXPOSURE, self.exposure)
        self.capture.set(self._cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # manual, in the numbers of Linux's cameras
