"""Claims a serial port, so that one program has it at a time."""

import errno
import os
import sys
import warnings

IN_USE = (errno.EAGAIN, errno.EBUSY)  # locked by another program, or opened by one that forbids a second


def claim(port: str) -> int:
    """Return a descriptor that keeps other programs from a port, until it is closed or this process ends.

    Claim the port before it is opened for communication: opening it changes the line's settings, and discards answers
    for which the program that has the port waits.

    Args:
        port: Path of the serial port, such as "/dev/ttyUSB0".

    Raises:
        ConnectionError: Another program has the port, or it cannot be opened.
    """
    if sys.platform == "win32":
        raise ConnectionError("the arm's port needs Linux or macOS; on Windows, LunarLander and Meta-World run")
    import fcntl  # Windows has none

    # open
    in_use = f"the servos' port '{port}' is in use by another program; see which, and end it: fuser -v {port}"
    try:
        descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in IN_USE:
            raise ConnectionError(in_use) from None
        raise ConnectionError(
            f"the servos' port '{port}' cannot be opened ({error.strerror}); run mile-doctor"
        ) from None

    # lock
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in IN_USE:
            os.close(descriptor)
            raise ConnectionError(in_use) from None
        warnings.warn(
            f"the servos' port '{port}' cannot be locked ({error.strerror}); see that no other program uses it",
            stacklevel=2,
        )
    return descriptor
