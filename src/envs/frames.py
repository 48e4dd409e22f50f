"""Pictures as they are recorded: as JPEG, all of one length, so that they lie beside the numbers of their steps."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FRAME_BYTES = 24 * 1024
LARGEST = 320, 240  # pixels; larger ones are made smaller
QUALITIES = 90, 75, 50, 25, 5  # the first that fits


def compress(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture `[height, width, 3]` as JPEG, `[FRAME_BYTES]`, with zeros behind its end."""
    image = Image.fromarray(picture)
    image.thumbnail(LARGEST)
    content = next(it for it in (_jpeg(image, quality) for quality in QUALITIES) if len(it) <= FRAME_BYTES)
    return np.frombuffer(content.ljust(FRAME_BYTES, b"\0"), np.uint8)


def decompress(frame: Any) -> NDArray[np.uint8]:
    """Return the picture `[height, width, 3]` of a recorded frame `[FRAME_BYTES]`, an array or a tensor."""
    return read_picture(np.asarray(frame, np.uint8).tobytes(), "JPEG")


def read_picture(content: bytes, *formats: str) -> NDArray[np.uint8]:
    """Return the picture `[height, width, 3]` in a file's content, which may come from anywhere.

    Args:
        content: of the file.
        formats: those that are tried, by Pillow's names.

    Raises:
        ValueError: it is no picture of these formats, it is damaged, or far too large.
    """
    try:
        return np.asarray(Image.open(io.BytesIO(content), formats=formats).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError(f"a picture is expected, as {' or '.join(formats)}, got something else or a part") from None


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
