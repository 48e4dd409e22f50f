import io

import numpy as np
import torch
from PIL import Image

from mile.frames import FRAME_BYTES, LARGEST, compress, decompress


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
    assert decompress(compress(noise)).shape == (LARGEST[1], LARGEST[0], 3)
