"""The observed pictures of a recording, as stacks of the newest ones."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from mile.datamodules.columns import Column, damaged
from mile.datamodules.log import Episode


class Pictures:
    """The recorded pictures of all entries, which are checked when an episode's are first read.

    Args:
        columns: Their columns, in the order of the checksum; there may be none.
        episodes: Committed episodes, in the order in which they were recorded.
        folder: Folder of the recording, in error messages.
        stack: Number of newest pictures in a stack; before an episode's first one there is that one.
        checked: Numbers of the episodes whose pictures were checked before, to which others are added.
    """

    def __init__(
        self, columns: list[Column], episodes: list[Episode], folder: Path, stack: int, checked: set[int]
    ) -> None:
        self.names = [column.name for column in columns]
        self._episodes = list(episodes)
        self._folder = folder
        self._stack = stack
        self._arrays: dict[str, Tensor] = {}
        for column in columns if episodes else []:
            self._arrays[column.name] = torch.from_numpy(column.array(episodes))
        self._starts = torch.tensor([episode.start for episode in episodes])
        self._checked = checked

    def add_to(self, steps: Any, rows: Tensor, wanted: Collection[str | tuple[str, str]] | None = None) -> Any:
        """Add stacks of pictures to some steps, and return these.

        Args:
            steps: Steps, `[*batch]`.
            rows: Numbers of the steps, `[*batch]`.
            wanted: Entries that are added; None: all.
        """
        for following in (False, True):
            keys = {name: ("next", name) if following else name for name in self.names}
            if wanted is not None:
                keys = {name: key for name, key in keys.items() if key in wanted}
            if keys:
                stacks = self.stacks(rows, following)
                for name, key in keys.items():
                    steps[key] = stacks[name].to(steps.device)
        return steps

    def __contains__(self, key: object) -> bool:
        """Return whether an entry, also of the following step, is a picture."""
        return (key[-1] if isinstance(key, tuple) else key) in self.names

    def stacks(self, rows: Tensor, following: bool = False) -> dict[str, Tensor]:
        """Return the newest pictures of each entry at some steps.

        Args:
            rows: Numbers of the steps, `[*batch]`.
            following: Return those of the steps that follow.

        Returns:
            By name, stacks `[*batch, stack, height, width, channels]` uint8, oldest picture first.

        Raises:
            BufferError: An episode is damaged.
        """
        if not self._arrays:
            return {}
        rows = rows.cpu()
        number = torch.searchsorted(self._starts, rows, right=True) - 1  # of the episode
        self._check(number)

        # rows of the pictures, none before the episode's first
        newest = (rows + number + following).unsqueeze(-1)
        first = (self._starts[number] + number).unsqueeze(-1)
        pictures = torch.maximum(newest - torch.arange(self._stack - 1, -1, -1), first)  # [*batch, stack]

        stacks = {}
        for name, array in self._arrays.items():
            chosen = array.index_select(0, pictures.flatten())
            stacks[name] = chosen.reshape(*pictures.shape, *array.shape[1:])
        return stacks

    def _check(self, numbers: Tensor) -> None:
        """Compare the pictures of episodes with their checksums, where that was not done before."""
        for number in set(numbers.unique().tolist()) - self._checked:
            episode, checksum = self._episodes[number], 0
            start = episode.start + number
            for array in self._arrays.values():
                checksum = zlib.crc32(array[start : start + episode.length + 1].numpy().tobytes(), checksum)
            if checksum != episode.pictures:
                raise damaged(self._folder, episode, episode.pictures, checksum)
            self._checked.add(number)


def shifted(batch: TensorDict, largest: int, generator: torch.Generator) -> TensorDict:
    """Shift the pictures of each step `[batch_size]` by its own random distance; edges are repeated.

    Args:
        batch: Steps, whose pictures are `[batch_size, stack, height, width, channels]` uint8.
        largest: Largest distance in each direction, pixels.
        generator: Generator of the random numbers.

    Source: Yarats et al., "Image augmentation is all you need", ICLR 2021.
    """
    if not largest:
        return batch
    for key, pictures in list(batch.items(True, True)):
        if pictures.dtype != torch.uint8 or pictures.ndim != 5:
            continue
        distances = torch.randint(-largest, largest + 1, (len(pictures), 2), generator=generator)
        moved = []
        for stack, (down, right) in zip(pictures, distances.tolist(), strict=True):
            moved.append(_moved(_moved(stack, 1, down), 2, right))
        batch[key] = torch.stack(moved)
    return batch


def _moved(pictures: Tensor, axis: int, distance: int) -> Tensor:
    """Return pictures as seen from some pixels further along an axis."""
    if not distance:
        return pictures
    size = pictures.shape[axis] - abs(distance)
    edge = pictures.narrow(axis, pictures.shape[axis] - 1 if distance > 0 else 0, 1)
    repeated = edge.expand([abs(distance) if dim == axis else -1 for dim in range(pictures.ndim)])
    inner = pictures.narrow(axis, max(distance, 0), size)
    return torch.cat([inner, repeated] if distance > 0 else [repeated, inner], axis)
