"""The files of a recording: raw numbers, one file for each entry of a step."""

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mile.datamodules.log import Episode
from mile.datamodules.schema import BufferError, Entry, is_picture


class Column:
    """The file of an entry's numbers: a row for each step; of pictures one more for each episode, its last.

    Args:
        folder: Folder of the recording.
        name: Name of the entry, as "next/reward".
        entry: NumPy type and shape of a row.
    """

    def __init__(self, folder: Path, name: str, entry: Entry) -> None:
        dtype, shape = entry
        self.path = folder / f"{name.replace('/', '.')}.bin"
        self.name = name
        self.dtype = np.dtype(dtype)
        self.shape = tuple(shape)
        self.width = self.dtype.itemsize * math.prod(shape)  # bytes of a row; NumPy's product would overflow
        self.is_picture = is_picture(entry)

    def rows(self, episodes: list[Episode]) -> int:
        """Return the number of rows that some whole episodes have."""
        return sum(episode.length for episode in episodes) + len(episodes) * self.is_picture

    def array(self, episodes: list[Episode]) -> NDArray:
        """Return the committed rows, `[rows, *shape]`, mapped from disk."""
        rows = self.rows(episodes)
        if 0 in self.shape:
            return np.zeros((rows, *self.shape), self.dtype)  # there is nothing to map
        # mode "c": what is changed in memory does not reach the disk
        return np.memmap(self.path, self.dtype, mode="c", shape=(rows, *self.shape))

    def write(self, row: int, content: bytes) -> None:
        """Write from a row on, and drop what lay behind it."""
        self.path.touch()
        with self.path.open("r+b") as file:
            file.truncate(row * self.width)
            file.seek(row * self.width)
            file.write(content)

    def force(self) -> None:
        """Force the file to disk."""
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())

    def cut(self, episodes: list[Episode]) -> None:
        """Remove what belongs to none of the episodes."""
        size = self.rows(episodes) * self.width
        if not episodes:
            self.path.unlink(missing_ok=True)
        elif self.path.exists() and self.path.stat().st_size > size:
            os.truncate(self.path, size)

    def excess(self, episodes: list[Episode]) -> int:
        """Return how many bytes the file has beside those of the episodes.

        Raises:
            BufferError: It has fewer than these.
        """
        expected = self.rows(episodes) * self.width
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < expected:
            raise BufferError(f"'{self.path}' is truncated: expected {expected} bytes, got {size}")
        return size - expected


def damaged(folder: Path, episode: Episode, expected: int, checksum: int) -> BufferError:
    """Return the error that an episode's numbers are not those that were written."""
    return BufferError(
        f"'{folder}': episode {episode.episode} of round {episode.round} is damaged (CRC-32 expected {expected}, got "
        f"{checksum}); restore the folder from a copy"
    )
