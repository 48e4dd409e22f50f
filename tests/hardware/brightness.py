"""An encoder that needs no weights."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def brightness(sha256: str | None = None) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a function that turns a picture into the mean of each colour."""
    return lambda picture: picture.mean((0, 1)).astype(np.float32)
