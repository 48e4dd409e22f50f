"""A serial port that one program has at a time."""

import errno
import os
import sys
import warnings

TAKEN = (errno.EAGAIN, errno.EBUSY)  # locked by another program, or opened by one that wants no second


def claim(port: str) -> int:
    """Return a descriptor that keeps other programs from a port, until it is closed or this process ends.

    It must come before the port is opened to be spoken on: that alone changes the line's settings, and throws away
    answers for which the program that has the port waits.

    Args:
        port: such as "/dev/ttyUSB0".

    Raises:
        ConnectionError: another program has the port, or it cannot be opened.
    """
    if sys.platform == "win32":
        raise ConnectionError("the arm's port needs Linux or macOS; on Windows, LunarLander and Meta-World run")
    import fcntl  # Windows has none

    in_use = f"the servos' port '{port}' is in use by another program; see which, and end it: fuser -v {port}"
    try:
        descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in TAKEN:
            raise ConnectionError(in_use) from None
        raise ConnectionError(
            f"the servos' port '{port}' cannot be opened ({error.strerror}); run mile-doctor"
        ) from None

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            os.close(descriptor)
            raise ConnectionError(in_use) from None
        warnings.warn(
            f"the servos' port '{port}' cannot be locked ({error.strerror}); see that no other program uses it",
            stacklevel=2,
        )
    return descriptor
