"""Recorded episodes on disk: written whole, checked, and read by memory map."""

import json
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from mile.datamodules.columns import Column, damaged
from mile.datamodules.log import Episode, extend_log, read_log
from mile.datamodules.pictures import Pictures
from mile.datamodules.schema import FORMAT, BufferError, Entries, check_entries, entry_name, read_schema
from mile.files import refuse_links, whole_lines, write_text
from mile.transitions import LATER, check_transitions, is_picture


class InterventionBuffer:
    """All recorded steps, in a folder that survives a kill at any moment.

    Each entry of a step has a file of raw numbers, `schema.json` has the types of these files, and `episodes.jsonl` is
    the log of the episodes that are complete. The numbers are written first and the log last, each forced to disk. What
    is not in the log was not finished, and the next episode is written over it.

    Args:
        folder: Folder of the buffer; it is made with the first episode if it does not exist.
        environment: Name of the environment whose steps these are; a folder of another one is refused.
        stack: Number of newest pictures in a step, where pictures are observed; see `at`.

    Attributes:
        episodes: Committed episodes, in the order in which they were recorded.
        entries: Types and shapes of a step's entries; empty before the first episode.
        steps: All committed steps, `[steps]`, mapped from disk, without what is observed of pictures.
        pictures: Observed pictures of all committed steps.

    Raises:
        BufferError: The folder belongs to something else, or no longer holds what was committed.
    """

    def __init__(self, folder: str | Path, environment: str, stack: int = 1) -> None:
        self.folder = Path(folder)
        self.environment = environment
        self.stack = stack
        self._checked: set[int] = set()  # episodes whose pictures are what was written
        self.episodes: list[Episode] = []
        self.entries: Entries = {}
        self._log = self.folder / "episodes.jsonl"
        refuse_links(self.folder)
        if (self.folder / "schema.json").exists():
            self._open()
        elif foreign := [path.name for path in self.folder.glob("*") if path.name != "schema.json.draft"]:
            raise BufferError(
                f"'{self.folder}' holds '{foreign[0]}' but no schema.json: not a buffer's folder; choose a new one"
            )
        self._show()

    def __len__(self) -> int:
        """Return the number of committed steps."""
        return sum(episode.length for episode in self.episodes)

    # write

    def append(self, steps: TensorDictBase) -> None:
        """Commit one episode.

        Args:
            steps: One whole episode, `[steps]`, as `mile.transitions` describes it.

        Raises:
            TransitionError: The steps are malformed.
            BufferError: Their types or shapes differ from those recorded before, or the episode is already there.
            OSError: The disk is full, for example; the buffer stays as it was.
        """
        self.extend([steps])

    def extend(self, recorded: Iterable[TensorDictBase]) -> None:
        """Commit some episodes, all or none: an exception of any kind leaves the folder as it was.

        Args:
            recorded: Whole episodes, each `[steps]`, as `append` takes them; they are drawn one at a time.

        Raises:
            TransitionError: The steps of an episode are malformed.
            BufferError: Their types or shapes differ from those recorded before, or an episode is already there.
            OSError: The disk is full, for example.
        """
        if len(whole_lines(self._log)) != len(self.episodes):
            raise BufferError(
                f"'{self._log}' was changed by another process; one run at a time may record into a folder"
            )
        new_folders = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            added = self._commit(recorded)
        except BaseException:
            # unless the log was already replaced: then the episodes are committed
            if len(whole_lines(self._log)) == len(self.episodes):
                self._undo()
                _remove_empty(new_folders)
            raise
        self.episodes += added
        self._show()

    def _commit(self, recorded: Iterable[TensorDictBase]) -> list[Episode]:
        """Write some episodes and, as the last step, the log that makes them count."""
        if not self.episodes:
            self._undo()  # the entries of an episode that was begun and never committed decide nothing

        # numbers
        known = {(episode.round, episode.episode) for episode in self.episodes}
        added: list[Episode] = []
        start = len(self)
        for steps in recorded:
            episode = self._write_numbers(check_transitions(steps), start, known)
            known.add((episode.round, episode.episode))
            added.append(episode)
            start += episode.length
        for column in self._columns():
            column.force()

        # log
        if added:
            extend_log(self._log, added)
        return added

    def _write_numbers(self, steps: TensorDictBase, start: int, known: set[tuple[int, int]]) -> Episode:
        """Write the numbers of one episode, which does not commit it.

        Args:
            steps: Steps of the episode, `[steps]`.
            start: Number of its first step in the files.
            known: Rounds and numbers of the episodes before.
        """
        round_, number = int(steps["round"][0]), int(steps["episode"][0])
        if not (steps["round"] == round_).all() or not (steps["episode"] == number).all():
            raise BufferError("one whole episode is recorded at a time, got steps of several")
        if (round_, number) in known:
            raise BufferError(f"episode {number} of round {round_} is already in '{self.folder}'")

        # the last picture of an episode is that which follows its last step
        arrays: dict[str, np.ndarray] = {}
        for key, value in steps.items(True, True):
            if not is_picture(value):
                arrays[entry_name(key)] = np.ascontiguousarray(value.cpu().numpy())
            elif isinstance(key, str):
                arrays[key] = torch.cat([value, steps["next", key][-1:]]).cpu().numpy()
        entries: Entries = {}
        for name in sorted(arrays):
            entries[name] = arrays[name].dtype.str, list(arrays[name].shape[1:])
        for name in LATER.keys() - (self.entries or entries).keys():
            if (arrays.pop(name) != LATER[name]).any():
                raise BufferError(f"'{self.folder}' was begun without '{name}', which is new; choose another folder")
            del entries[name]
        if self.entries and "direction" in entries and "direction" not in self.entries:
            raise BufferError(
                f"'{self.folder}' was begun without corrections as these steps have; choose another folder"
            )
        self._check_entries(entries)

        checksums = [0, 0]  # of numbers, and of pictures
        for column in self._columns():
            content = arrays[column.name].tobytes()
            checksums[column.is_picture] = zlib.crc32(content, checksums[column.is_picture])
            column.write(start + len(known) * column.is_picture, content)
        return Episode(round_, number, start, len(steps), *checksums)

    def _check_entries(self, entries: Entries) -> None:
        """Refuse entries other than those of the recording, which are those of its first episode."""
        if not self.entries:
            self._write_schema(entries)
        if missing := self.entries.keys() - entries.keys():
            raise BufferError(f"'{self.folder}' was begun with {sorted(missing)}, these steps have none")
        if more := sorted(entries.keys() - self.entries.keys()):
            warnings.warn(f"'{self.folder}' was begun without {more}: these are not recorded", stacklevel=6)
        for name, entry in self.entries.items():
            if entries[name] != entry:
                raise BufferError(f"'{name}' was recorded as {entry} in '{self.folder}', got {entries[name]}")

    def _write_schema(self, entries: Entries) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.entries = check_entries(entries, f"'{self.folder}'")
        schema = {"format": FORMAT, "environment": self.environment, "entries": entries}
        write_text(self.folder / "schema.json", json.dumps(schema, indent=2))

    def _undo(self) -> None:
        """Remove from the folder what belongs to no committed episode."""
        for column in self._columns():
            column.cut(self.episodes)
        self._log.with_name("episodes.jsonl.draft").unlink(missing_ok=True)
        if not self.episodes:
            for name in ("episodes.jsonl", "schema.json", "schema.json.draft"):
                (self.folder / name).unlink(missing_ok=True)
            self.entries = {}

    # read

    def recorded(self, deployment_round: int) -> set[int]:
        """Return the numbers of a round's committed episodes."""
        return {episode.episode for episode in self.episodes if episode.round == deployment_round}

    def rows(self, rounds: Iterable[int] | None = None) -> torch.Tensor:
        """Return the rows of `steps` that belong to some rounds (default: all), by round and episode."""
        chosen = None if rounds is None else set(rounds)
        ranges = [torch.empty(0, dtype=torch.int64)]
        for episode in sorted(self.episodes):
            if chosen is None or episode.round in chosen:
                ranges.append(torch.arange(episode.start, episode.start + episode.length))
        return torch.cat(ranges)

    def _open(self) -> None:
        """Read the schema and the log, and check the files of numbers against them."""
        environment, self.entries = read_schema(self.folder)
        if environment != self.environment:
            raise BufferError(f"'{self.folder}' holds steps of {environment!r}, expected '{self.environment}'")
        self.episodes = read_log(self._log)
        self._check_sizes()
        if self.episodes:
            self._check_numbers()

    def _check_sizes(self) -> None:
        """Refuse a file that is too short; warn of more than the committed steps, which is written over."""
        unfinished = sum(column.excess(self.episodes) for column in self._columns())
        if unfinished:
            warnings.warn(
                f"'{self.folder}': the last episode was not finished and is left out; {len(self.episodes)} complete "
                f"episodes are intact",
                stacklevel=4,
            )

    def _check_numbers(self) -> None:
        """Compare the numbers of each episode with its checksum; pictures are compared when they are first read."""
        arrays = [column.array(self.episodes) for column in self._columns() if not column.is_picture]
        for episode in self.episodes:
            checksum = 0
            for array in arrays:
                checksum = zlib.crc32(array[episode.rows].tobytes(), checksum)
            if checksum != episode.crc32:
                raise damaged(self.folder, episode, episode.crc32, checksum)

    def at(self, rows: torch.Tensor, without: Iterable[str | tuple[str, str]] = ()) -> Any:
        """Return some rows, with stacks of the observed pictures and without some other entries, `[rows]`."""
        return self.pictures.add_to(self.steps.exclude(*without)[rows], rows)

    def read(self, episode: Episode) -> TensorDict:
        """Return the steps of one episode as they were recorded, pictures included, `[length]`.

        Raises:
            BufferError: The pictures are damaged.
        """
        rows = torch.arange(episode.start, episode.start + episode.length)
        steps = self.at(rows)
        for name in self.pictures.names:
            for key in (name, ("next", name)):
                steps[key] = steps[key][:, -1]
        return steps

    def _columns(self) -> list[Column]:
        """Return the columns of all entries, in the order of the schema."""
        return [Column(self.folder, name, entry) for name, entry in self.entries.items()]

    def _show(self) -> None:
        """Map what is committed."""
        pictures = [column for column in self._columns() if column.is_picture]
        self.steps = self._map()
        self.pictures = Pictures(pictures, self.episodes, self.folder, self.stack, self._checked)

    def _map(self) -> TensorDict:
        """Return all committed steps, `[steps]`, mapped from disk."""
        steps = TensorDict({}, [len(self)])
        if self.episodes:
            for column in self._columns():
                if not column.is_picture:
                    steps.set(tuple(column.name.split("/")), torch.from_numpy(column.array(self.episodes)))
            for name in LATER.keys() - self.entries.keys():  # an earlier recording
                steps.set(name, torch.full([len(self)], LATER[name]))
        return steps


def _remove_empty(folders: Iterable[Path]) -> None:
    for path in folders:
        if path.exists() and not any(path.iterdir()):
            path.rmdir()
