"""Recorded episodes on disk: written whole, checked, and read by memory map."""

import json
import math
import os
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from mile.files import read_json, refuse_links, write_bytes, write_text
from mile.transitions import ENTRIES, OPTIONAL, check_transitions

Entries = dict[str, tuple[str, list[int]]]  # NumPy type and shape of one step, by name

TYPES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")


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
    episodes that are complete. The numbers are written first and the names last, each forced to disk: what is not
    named was not finished, and the next episode is written over it.

    Args:
        folder: made with the first episode if it does not exist.
        environment: name of the environment whose steps these are; a folder of another one is refused.

    Raises:
        BufferError: the folder belongs to something else, or what was committed is no longer what was written.
    """

    def __init__(self, folder: str | Path, environment: str) -> None:
        self.folder = Path(folder)
        self.environment = environment
        self.episodes: list[Episode] = []
        self.entries: Entries = {}
        self._log = self.folder / "episodes.jsonl"
        refuse_links(self.folder)
        if (self.folder / "schema.json").exists():
            self._open()
        elif foreign := [path.name for path in self.folder.glob("*") if path.name != "schema.json.draft"]:
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
        self.extend([steps])

    def extend(self, recorded: Iterable[TensorDictBase]) -> None:
        """Commit some episodes, all or none: an exception of any kind leaves the folder as it was.

        Args:
            recorded: whole episodes, each `[steps]`, as `append` takes them; asked for one at a time.

        Raises:
            TransitionError: the steps of one are malformed.
            BufferError: their types or shapes differ from those recorded before, or one is already there.
            OSError: the disk is full, say.
        """
        if len(self._lines()) != len(self.episodes):
            raise BufferError(
                f"'{self._log}' was changed by another process; one run at a time may record into a folder"
            )
        made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        known = {(episode.round, episode.episode) for episode in self.episodes}
        added: list[Episode] = []
        try:
            # what was begun and never committed decides nothing
            if not self.episodes:
                self._undo()

            # the numbers
            for steps in recorded:
                start = added[-1].start + added[-1].length if added else len(self)
                episode = self._write_numbers(check_transitions(steps), start, known)
                known.add((episode.round, episode.episode))
                added.append(episode)
            for name in self.entries:
                _force(self._file(name))

            # their names
            lines = [json.dumps(episode._asdict()).encode() + b"\n" for episode in added]
            if added:
                write_bytes(self._log, b"".join(self._lines() + lines))
        except BaseException:
            if len(self._lines()) == len(self.episodes):
                self._undo()
                for path in made:
                    if path.exists() and not any(path.iterdir()):
                        path.rmdir()
            raise
        self.episodes += added
        self.steps = self._map()

    def _write_numbers(self, steps: TensorDictBase, start: int, known: set[tuple[int, int]]) -> Episode:
        """Write one episode from a step on; it is not committed by that.

        Args:
            steps: `[steps]`.
            start: number of the first one in the files.
            known: round and number of the episodes before.
        """
        round_, number = int(steps["round"][0]), int(steps["episode"][0])
        if not (steps["round"] == round_).all() or not (steps["episode"] == number).all():
            raise BufferError("one whole episode is recorded at a time, got steps of several")
        if (round_, number) in known:
            raise BufferError(f"episode {number} of round {round_} is already in '{self.folder}'")

        # are these the entries that the recording was begun with?
        flat = {_name(key): value for key, value in steps.items(True, True)}
        arrays = {name: np.ascontiguousarray(flat[name].cpu().numpy()) for name in sorted(flat)}
        entries = {name: (array.dtype.str, list(array.shape[1:])) for name, array in arrays.items()}
        if not self.entries:
            self._write_schema(entries)
        if missing := self.entries.keys() - entries.keys():
            raise BufferError(f"'{self.folder}' was begun with {sorted(missing)}, these steps have none")
        if more := sorted(entries.keys() - self.entries.keys()):
            warnings.warn(f"'{self.folder}' was begun without {more}: these are not recorded", stacklevel=4)
        for name, entry in self.entries.items():
            if entries[name] != entry:
                raise BufferError(f"'{name}' was recorded as {entry} in '{self.folder}', got {entries[name]}")

        checksum = 0
        for name in self.entries:
            content = arrays[name].tobytes()
            checksum = zlib.crc32(content, checksum)
            _write(self._file(name), start * self._width(name), content)
        return Episode(round_, number, start, len(steps), checksum)

    def _undo(self) -> None:
        """Remove from the folder what belongs to no committed episode."""
        for name in self.entries:
            file, size = self._file(name), len(self) * self._width(name)
            if not self.episodes:
                file.unlink(missing_ok=True)
            elif file.exists() and file.stat().st_size > size:
                os.truncate(file, size)
        self._log.with_name("episodes.jsonl.draft").unlink(missing_ok=True)
        if not self.episodes:
            for name in ("episodes.jsonl", "schema.json", "schema.json.draft"):
                (self.folder / name).unlink(missing_ok=True)
            self.entries = {}

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

    def _write_schema(self, entries: Entries) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.entries = check_entries(entries, f"'{self.folder}'")
        schema = {"format": 1, "environment": self.environment, "entries": entries}
        write_text(self.folder / "schema.json", json.dumps(schema, indent=2))

    def _open(self) -> None:
        environment, self.entries = read_schema(self.folder)
        if environment != self.environment:
            raise BufferError(f"'{self.folder}' holds steps of {environment!r}, expected '{self.environment}'")
        self.episodes = self._read_log()
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

    def _read_log(self) -> list[Episode]:
        """Return the committed episodes, in the order of their steps."""
        try:
            episodes = [Episode(**json.loads(line)) for line in self._lines()]
        except (ValueError, TypeError, RecursionError) as error:
            raise BufferError(f"'{self._log}' cannot be read: {error!r}") from None
        start = 0
        for number, episode in enumerate(episodes):
            if any(type(value) is not int for value in episode) or episode.length < 1:
                raise BufferError(
                    f"line {number + 1} of '{self._log}' must hold whole numbers and a length, got {episode}"
                )
            if episode.start != start:
                raise BufferError(
                    f"line {number + 1} of '{self._log}' must begin at step {start}, where the one before it ends, got "
                    f"{episode.start}"
                )
            start += episode.length
        return episodes

    def _lines(self) -> list[bytes]:
        """Return the complete lines of the log."""
        lines = self._log.read_bytes().splitlines(keepends=True) if self._log.exists() else []
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _width(self, name: str) -> int:
        """Return the bytes of one step's entry."""
        dtype, shape = self.entries[name]
        return np.dtype(dtype).itemsize * math.prod(shape)  # NumPy's product would overflow

    def _array(self, name: str) -> np.ndarray:
        dtype, shape = self.entries[name]
        if 0 in shape:
            return np.zeros((len(self), *shape), dtype)  # there is nothing to map
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


def read_schema(folder: Path) -> tuple[str, Entries]:
    """Return the environment of the buffer in a folder, and the entries of its steps.

    Raises:
        BufferError: its schema cannot be read, or no buffer has such entries.
    """
    path = folder / "schema.json"
    try:
        schema = read_json(path)
        if schema["format"] != 1:
            raise ValueError(f"format 1 expected, got {schema['format']!r}")
        environment = schema["environment"]
        if not isinstance(environment, str) or not environment.isprintable():
            raise TypeError(f"the name of an environment expected, got {environment!r}")
        entries = {name: (dtype, shape) for name, (dtype, shape) in sorted(schema["entries"].items())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BufferError(f"'{path}' cannot be read: {error!r}") from None
    return environment, check_entries(entries, f"'{path}'")


def check_entries(entries: Entries, where: str) -> Entries:
    """Return the entries of a schema, which may come from anywhere, if they are those of steps.

    Raises:
        BufferError: an entry is unknown or missing, or its type or shape is not one of numbers.
    """
    required, optional = ({_name(key) for key in keys} for keys in (ENTRIES, OPTIONAL))
    if unknown := sorted(entries.keys() - required - optional):
        raise BufferError(f"{where} has the unknown entry {unknown[0]!r}; the entries of steps are in mile.transitions")
    if missing := sorted(required - entries.keys()):
        raise BufferError(f"{where} lacks the entry '{missing[0]}'; the entries of steps are in mile.transitions")
    for name, (dtype, shape) in entries.items():
        if dtype not in TYPES:
            raise BufferError(f"{where}: the type of '{name}' must be one of {', '.join(TYPES)}, got {dtype!r}")
        if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
            raise BufferError(f"{where}: the shape of '{name}' must be a list of sizes from 0 on, got {shape!r}")
    return entries


def _name(key: str | tuple[str, ...]) -> str:
    return key if isinstance(key, str) else "/".join(key)


def _write(path: Path, offset: int, content: bytes) -> None:
    """Write from an offset on, and drop what lay behind it."""
    path.touch()
    with path.open("r+b") as file:
        file.truncate(offset)
        file.seek(offset)
        file.write(content)


def _force(path: Path) -> None:
    """Force a file to disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
