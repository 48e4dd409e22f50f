"""Pictures as they are recorded: as JPEG, all of one length, so that they fit beside the numbers of a step."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FRAME_BYTES = 24 * 1024
MAX_SIZE = 320, 240  # pixels; larger pictures are made smaller
QUALITIES = 90, 75, 50, 25, 5  # of JPEG, best first; the first that fits into FRAME_BYTES is used


def compress(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture `[height, width, 1 or 3]` as JPEG, `[FRAME_BYTES]`, with zeros behind its end.

    Raises:
        ValueError: The picture does not fit into FRAME_BYTES at any quality.
    """
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).convert("RGB")
    image.thumbnail(MAX_SIZE)
    for quality in QUALITIES:
        content = _jpeg(image, quality)
        if len(content) <= FRAME_BYTES:
            return np.frombuffer(content.ljust(FRAME_BYTES, b"\0"), np.uint8)
    raise ValueError(f"a picture must fit into {FRAME_BYTES} bytes; this one takes more at the lowest quality")


def decompress(frame: Any) -> NDArray[np.uint8]:
    """Return the picture `[height, width, 3]` of a recorded frame `[FRAME_BYTES]`, an array or a tensor."""
    return read_picture(np.asarray(frame, np.uint8).tobytes(), "JPEG")


def read_picture(content: bytes, *formats: str) -> NDArray[np.uint8]:
    """Return the picture in a file's content, which may come from an unknown source.

    Args:
        content: Content of the file.
        formats: Formats that are tried, by Pillow's names.

    Returns:
        The picture, `[height, width, 3]`, or `[height, width, 1]` if it has shades of grey alone.

    Raises:
        ValueError: The content is not a picture of these formats, it is damaged, or far too large.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        return np.asarray(image)[..., None] if image.mode == "L" else np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError(f"a picture is expected, as {' or '.join(formats)}, got something else or a part") from None


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture `[height, width, 3]` as JPEG, to be looked at."""
    return _jpeg(Image.fromarray(picture), QUALITIES[0])


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture `[height, width, 1 or 3]` as PNG, from which `read_picture` makes the same again."""
    file = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(file, "PNG")
    return file.getvalue()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
