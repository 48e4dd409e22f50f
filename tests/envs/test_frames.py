import io

import numpy as np
import pytest
import torch
from PIL import Image

from mile.envs.frames import FRAME_BYTES, MAX_SIZE, compress, decompress, read_picture


def test_a_picture_survives_but_for_what_jpeg_loses():
    x, y = np.meshgrid(np.linspace(0, 255, 224), np.linspace(0, 255, 200))
    picture = np.stack([x, y, 255 - x], -1).astype(np.uint8)
    frame = compress(picture)
    assert (frame.shape, frame.dtype) == ((FRAME_BYTES,), np.uint8)
    assert np.abs(decompress(torch.from_numpy(frame.copy())).astype(int) - picture).mean() < 2
    with Image.open(io.BytesIO(frame.tobytes())) as anybody_reads:
        assert anybody_reads.format == "JPEG"


def test_the_worst_picture_fits():
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    assert decompress(compress(noise)).shape == (MAX_SIZE[1], MAX_SIZE[0], 3)


def encoded(kind, size=(8, 6)):
    file = io.BytesIO()
    Image.new("RGB", size, (200, 0, 0)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP"])
def test_a_recorded_frame_is_jpeg_or_nothing(kind):
    """A recording may come from anybody: Pillow's other readers are not offered to it."""
    frame = np.frombuffer(encoded(kind).ljust(FRAME_BYTES, b"\0"), np.uint8)
    with pytest.raises(ValueError, match="a picture is expected, as JPEG"):
        decompress(frame)


def test_a_picture_of_another_kind_or_a_part_of_one_is_refused():
    assert read_picture(encoded("PNG"), "PNG", "JPEG")[0, 0].tolist() == [200, 0, 0]
    for content in (b"", b"\x89PNG", encoded("PNG")[:45], encoded("GIF")):
        with pytest.raises(ValueError, match="a picture is expected, as PNG or JPEG"):
            read_picture(content, "PNG", "JPEG")


def test_a_picture_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit, which is 89 million
    with pytest.raises(ValueError, match="a picture is expected"):
        read_picture(encoded("PNG"), "PNG")
