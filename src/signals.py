"""What asks a program to stop: Ctrl-C, SIGTERM, and a terminal that is closed."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop(handler: Callable[[int], None]) -> None:
    """Have a handler called with the number of each such signal; SIGHUP stays ignored where nohup has ignored it."""

    def heed(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:  # there is no terminal any more, and writing to it would fail
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        handler(number)

    for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, heed)
