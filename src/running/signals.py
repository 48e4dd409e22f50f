"""What asks a program to stop: Ctrl-C, SIGTERM, and a terminal that is closed."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

HANGUP: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
STOPPING = (signal.SIGINT, signal.SIGTERM) if HANGUP is None else (signal.SIGINT, signal.SIGTERM, HANGUP)


def on_stop(handler: Callable[[int], None]) -> None:
    """Have a handler called with the number of each such signal; SIGHUP stays ignored where nohup has ignored it.

    Outside of the main thread, where Python lets nobody handle signals, nothing happens: they are the program's.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    def heed(number: int, frame: FrameType | None) -> None:
        if number == HANGUP:  # there is no terminal any more, and writing to it would fail
            sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        handler(number)

    for number in STOPPING:
        if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, heed)
