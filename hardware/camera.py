"""A USB webcam: the newest picture, and when it was taken."""

import os
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Webcam:
    """Reads a webcam from a thread of its own, so that a picture is never older than the camera makes it.

    Args:
        number: of the camera, or a file of pictures in place of one.
        size: width and height that are asked for, pixels.
        exposure: fixed, in the camera's units; None: the camera's own choice, fixed after a second.

    Raises:
        ConnectionError: it cannot be opened, or shows nothing.
    """

    def __init__(
        self, number: int | str = 0, size: tuple[int, int] = (640, 480), exposure: float | None = None
    ) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # it warns of every backend that it tries
        import cv2

        self._cv2: Any = cv2
        self.capture = cv2.VideoCapture(number)
        if not self.capture.isOpened():
            raise ConnectionError(f"camera {number} cannot be opened; plug it in, close what else uses it, mile-doctor")
        for name, value in ((cv2.CAP_PROP_FRAME_WIDTH, size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, size[1])):
            self.capture.set(name, value)
        self.exposure = exposure
        self.newest: tuple[NDArray[np.uint8], float] | None = None
        self.over = threading.Event()
        self.seen = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        if not self.seen.wait(5):
            self.close()
            raise ConnectionError(f"camera {number} shows nothing; plug it in again, mile-doctor")
        self._lock_exposure()

    def read(self) -> tuple[NDArray[np.uint8], float]:
        """Return the newest picture, `[height, width, 3]` RGB, and its time, s; see `Camera`."""
        assert self.newest is not None
        picture, taken = self.newest
        return self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB), taken

    def close(self) -> None:
        """Let go of the camera."""
        self.over.set()
        self.thread.join(2)
        self.capture.release()

    def _watch(self) -> None:
        while not self.over.is_set():
            sound, picture = self.capture.read()
            if not sound:
                self.over.wait(0.01)
                continue
            self.newest = picture, time.monotonic()
            self.seen.set()

    def _lock_exposure(self) -> None:
        """Stop the camera from changing its brightness under way: a policy would see it."""
        if self.exposure is None:
            self.over.wait(1)
        else:
            self.capture.set(self._cv2.CAP_PROP_EXPOSURE, self.exposure)
        self.capture.set(self._cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # by hand, for Linux's cameras
