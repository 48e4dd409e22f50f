"""Checks an arm that is left alone, while the program waits for a person or trains the robot's policy."""

import threading
import time
from collections.abc import Callable

CHECK_PERIOD = 0.5  # s between two checks
UNATTENDED_AFTER = 1.0  # s without attention, after which the guard checks the arm


class Guard:
    """Calls `check` about twice a second, in a thread of its own, while nobody else works with the arm.

    Measures real time, even where the arm's time is simulated.

    Args:
        check: Called with the time for which the arm has been alone, s.

    Attributes:
        lock: Lock to hold while working with the arm.
    """

    def __init__(self, check: Callable[[float], None]) -> None:
        self.check, self.lock = check, threading.RLock()
        self.closing = threading.Event()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the guard's thread."""
        self.note_attention()
        self.closing.clear()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def note_attention(self) -> None:
        """Note that the arm has just been looked at, so that it is not alone."""
        self.last_attention = time.monotonic()

    def close(self) -> None:
        """Stop the guard's thread."""
        self.closing.set()
        if self.thread is not None:
            self.thread.join()

    def _watch(self) -> None:
        while not self.closing.wait(CHECK_PERIOD):
            if not self.lock.acquire(blocking=False):
                continue
            try:
                seconds_alone = time.monotonic() - self.last_attention
                if seconds_alone > UNATTENDED_AFTER:
                    self.check(seconds_alone)
            finally:
                self.lock.release()
