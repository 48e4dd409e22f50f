"""Looks after an arm that is left alone: while a person is waited for, or the robot learns."""

import threading
import time
from collections.abc import Callable

PERIOD = 0.5  # s between two looks
ALONE = 1.0  # s since the arm was last heard of, from where on it is looked after


class Guard:
    """Calls `look` about twice a second, from a thread of its own, while nobody else has the arm in view.

    Real time, also where the arm's is simulated.

    Args:
        look: is given for how long the arm has been alone, s.

    Attributes:
        view: to be held by who works with the arm.
    """

    def __init__(self, look: Callable[[float], None]) -> None:
        self.look, self.view = look, threading.RLock()
        self.over = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self.seen()
        self.over.clear()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def seen(self) -> None:
        """Hear that somebody has the arm in view."""
        self.last = time.monotonic()

    def close(self) -> None:
        """Look no more."""
        self.over.set()
        if self.thread is not None:
            self.thread.join()

    def _watch(self) -> None:
        while not self.over.wait(PERIOD):
            if not self.view.acquire(blocking=False):
                continue
            try:
                if (alone := time.monotonic() - self.last) > ALONE:
                    self.look(alone)
            finally:
                self.view.release()
