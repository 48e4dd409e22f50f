"""The log of a buffer's folder: a line for each episode that is complete."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mile.datamodules.schema import BufferError
from mile.files import whole_lines, write_bytes


class Episode(NamedTuple):
    """One committed episode.

    Attributes:
        round: Number of the deployment round; −1 in demonstrations.
        episode: Number of the episode within the recording.
        start: Number of the episode's first step in the files.
        length: Number of steps.
        crc32: CRC-32 of the episode's bytes, entry by entry in the schema's order, without pictures.
        pictures: CRC-32 of its pictures; 0 where it has none.
    """

    round: int
    episode: int
    start: int
    length: int
    crc32: int
    pictures: int = 0

    @property
    def rows(self) -> slice:
        """Rows of the episode in the buffer's steps."""
        return slice(self.start, self.start + self.length)


def read_log(path: Path) -> list[Episode]:
    """Return the committed episodes, in the order of their steps; none if there is no log.

    Raises:
        BufferError: A line cannot be read, or does not begin where the one before it ends.
    """
    try:
        episodes = [Episode(**json.loads(line)) for line in whole_lines(path)]
    except (ValueError, TypeError, RecursionError) as error:
        raise BufferError(f"'{path}' cannot be read: {error!r}") from None

    start = 0
    for number, episode in enumerate(episodes, start=1):
        place = f"line {number} of '{path}'"
        if any(type(value) is not int for value in episode) or episode.length < 1:
            raise BufferError(f"{place} must hold whole numbers and a length, got {episode}")
        if episode.start != start:
            raise BufferError(f"{place} must begin at step {start}, where the one before it ends, got {episode.start}")
        start += episode.length
    return episodes


def extend_log(path: Path, episodes: Iterable[Episode]) -> None:
    """Add episodes to the log, all or none; this is what commits them."""
    lines = whole_lines(path)
    for episode in episodes:
        facts = episode._asdict()
        if not episode.pictures:
            del facts["pictures"]
        lines.append(json.dumps(facts).encode() + b"\n")
    write_bytes(path, b"".join(lines))
