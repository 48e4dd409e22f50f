"""Recorded episodes on disk: written whole, checked, and read by memory map."""

import json
import os
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from mile.transitions import check_transitions


class BufferError(ValueError):
    """A buffer's folder that cannot be used as it is."""


class Episode(NamedTuple):
    """One committed episode: its place in the files, and the CRC-32 of its bytes in the schema's order."""

    round: int
    episode: int
    start: int
    length: int
    crc32: int


class InterventionBuffer:
    """All steps that were recorded, in a folder that survives a kill at any moment.

    Every entry of a step has a file of raw numbers, `schema.json` says their types, and `episodes.jsonl` names the
    episodes that are complete. `append` writes the numbers first and the name last, each forced to disk: what is not
    named was not finished, and the next episode is written over it.

    Args:
        folder: made if it does not exist.
        environment: name of the environment whose steps these are; a folder of another one is refused.

    Raises:
        BufferError: the folder belongs to something else, or what was committed is no longer what was written.
    """

    def __init__(self, folder: str | Path, environment: str) -> None:
        self.folder = Path(folder)
        self.environment = environment
        self.episodes: list[Episode] = []
        self.entries: dict[str, tuple[str, list[int]]] = {}
        self._log_size = 0
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "schema.json").exists():
            self._open()
        elif foreign := [path.name for path in self.folder.iterdir() if path.name != "schema.draft"]:
            raise BufferError(f"'{self.folder}' holds '{foreign[0]}' but no schema.json: not a buffer's folder")
        self.steps = self._map()

    def __len__(self) -> int:
        """Return the number of committed steps."""
        return sum(episode.length for episode in self.episodes)

    def append(self, steps: TensorDictBase) -> None:
        """Commit one episode.

        Args:
            steps: one whole episode, `[steps]`, as `mile.transitions` describes it.

        Raises:
            TransitionError: the steps are malformed.
            BufferError: their types or shapes differ from those recorded before, or the episode is already there.
            OSError: the disk is full, say; the buffer stays as it was.
        """
        flat = {
            "/".join(key) if isinstance(key, tuple) else key: value
            for key, value in check_transitions(steps).items(True, True)
        }
        arrays = {name: np.ascontiguousarray(flat[name].cpu().numpy()) for name in sorted(flat)}
        entries = {name: (array.dtype.str, list(array.shape[1:])) for name, array in arrays.items()}
        if not self.entries:
            self._write_schema(entries)
        if missing := self.entries.keys() - entries.keys():
            raise BufferError(f"'{self.folder}' was begun with {sorted(missing)}, these steps have none")
        if more := sorted(entries.keys() - self.entries.keys()):
            warnings.warn(f"'{self.folder}' was begun without {more}: these are not recorded", stacklevel=2)
            arrays = {name: arrays[name] for name in self.entries}
        for name, entry in self.entries.items():
            if entries[name] != entry:
                raise BufferError(f"'{name}' was recorded as {entry} in '{self.folder}', got {entries[name]}")
        log = self.folder / "episodes.jsonl"
        if len(self._lines()) != len(self.episodes):
            raise BufferError(f"'{log}' was changed by another process; one run at a time may record into a folder")
        round_, number, start = int(steps["round"][0]), int(steps["episode"][0]), len(self)
        if not (steps["round"] == round_).all() or not (steps["episode"] == number).all():
            raise BufferError("one whole episode is recorded at a time, got steps of several")
        if number in self.recorded(round_):
            raise BufferError(f"episode {number} of round {round_} is already in '{self.folder}'")
        checksum = 0
        for name, array in arrays.items():
            checksum = zlib.crc32(array.tobytes(), checksum)
            _write(self._file(name), start * self._width(name), array.tobytes())
        episode = Episode(round_, number, start, len(steps), checksum)
        line = json.dumps(episode._asdict()) + "\n"
        _write(log, self._log_size, line.encode())
        self._log_size += len(line)
        self.episodes.append(episode)
        self.steps = self._map()

    def recorded(self, deployment_round: int) -> set[int]:
        """Return the numbers of the episodes that are committed of a round."""
        return {episode.episode for episode in self.episodes if episode.round == deployment_round}

    def rows(self, rounds: Iterable[int] | None = None) -> torch.Tensor:
        """Return the rows of `steps` that belong to some rounds (default: all), by round and episode."""
        chosen = None if rounds is None else set(rounds)
        episodes = sorted(episode for episode in self.episodes if chosen is None or episode.round in chosen)
        ranges = [torch.arange(episode.start, episode.start + episode.length) for episode in episodes]
        return torch.cat([torch.empty(0, dtype=torch.int64), *ranges])

    def _file(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '.')}.bin"

    def _write_schema(self, entries: dict[str, tuple[str, list[int]]]) -> None:
        draft = self.folder / "schema.draft"
        schema = {"format": 1, "environment": self.environment, "entries": entries}
        _write(draft, 0, json.dumps(schema, indent=2).encode())
        draft.rename(self.folder / "schema.json")
        self.entries = entries

    def _open(self) -> None:
        lines = self._lines()
        self._log_size = sum(len(line) for line in lines)
        try:
            self.episodes = [Episode(**json.loads(line)) for line in lines]
            schema = json.loads((self.folder / "schema.json").read_text())
            if schema["format"] != 1:
                raise ValueError(f"format 1 expected, got {schema['format']}")
            entries = sorted(schema["entries"].items())
            self.entries = {name: (np.dtype(dtype).str, list(shape)) for name, (dtype, shape) in entries}
            if any(episode.length < 1 for episode in self.episodes):
                raise ValueError("an episode has no steps")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BufferError(f"schema.json or episodes.jsonl in '{self.folder}' cannot be read: {error!r}") from None
        if schema.get("environment") != self.environment:
            raise BufferError(
                f"'{self.folder}' holds steps of '{schema.get('environment')}', expected '{self.environment}'"
            )
        torn = False
        for name in self.entries:
            file, expected = self._file(name), len(self) * self._width(name)
            size = file.stat().st_size if file.exists() else 0
            if size < expected:
                raise BufferError(f"'{file}' is truncated: expected {expected} bytes, got {size}")
            torn = torn or size > expected
        if torn:  # the next episode is written over it
            warnings.warn(
                f"'{self.folder}': the last episode was not finished and is left out; {len(self.episodes)} complete "
                f"episodes are intact",
                stacklevel=3,
            )
        arrays = {name: self._array(name) for name in self.entries} if self.episodes else {}
        for episode in self.episodes:
            checksum = 0
            for array in arrays.values():
                checksum = zlib.crc32(array[episode.start : episode.start + episode.length].tobytes(), checksum)
            if checksum != episode.crc32:
                raise BufferError(
                    f"'{self.folder}': episode {episode.episode} of round {episode.round} is damaged (CRC-32 expected "
                    f"{episode.crc32}, got {checksum}); restore the folder from a copy"
                )

    def _lines(self) -> list[bytes]:
        """Return the complete lines of the log."""
        log = self.folder / "episodes.jsonl"
        lines = log.read_bytes().splitlines(keepends=True) if log.exists() else []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _width(self, name: str) -> int:
        """Return the bytes of one step's entry."""
        dtype, shape = self.entries[name]
        return np.dtype(dtype).itemsize * int(np.prod(shape))

    def _array(self, name: str) -> np.ndarray:
        dtype, shape = self.entries[name]
        # mode "c": what is changed in memory does not reach the disk
        return np.memmap(self._file(name), np.dtype(dtype), mode="c", shape=(len(self), *shape))

    def _map(self) -> TensorDict:
        """Return all committed steps, `[steps]`, mapped from disk."""
        if not self.episodes:
            return TensorDict({}, [0])
        steps = TensorDict({}, [len(self)])
        for name in self.entries:
            steps.set(tuple(name.split("/")), torch.from_numpy(self._array(name)))
        return steps


def _write(path: Path, offset: int, content: bytes) -> None:
    """Write from an offset on, drop what lay behind it, and force it to disk."""
    path.touch()
    with path.open("r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
