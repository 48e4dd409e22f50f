"""Recordings as robomimic's HDF5 files.

They hold every entry of `mile.transitions` except those that few environments report (state, frame). These stay in the
recording; nothing else is lost on the way there and back.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.exchange.foreign import (
    OWN,
    assemble,
    is_last,
    naming,
    own_entries,
    shifted,
    unknown_successes,
    warn_left_out,
)
from mile.datamodules.exchange.labels import DEMO, HUMAN, ROBOT, USUAL, Labels, label_names
from mile.transitions import DEMONSTRATION, observed

GYM = 2  # robomimic's number of the kind of environment


def write_robomimic(buffer: InterventionBuffer, path: str | Path) -> None:
    """Write an HDF5 file as robomimic reads it, `action_modes` included: −1 demonstration, 0 robot, 1 intervention.

    Args:
        buffer: Recording of at least one episode.
        path: Path of the file.

    Raises:
        FileExistsError: There is such a file already.
    """
    import h5py

    with h5py.File(path, "x") as file:
        data = file.create_group("data")
        for number, episode in enumerate(sorted(buffer.episodes)):
            steps = buffer.read(episode)
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(steps)
            for key, value in _robomimic_entries(steps).items():
                demo.create_dataset(key, data=value.numpy())
        data.attrs["total"] = len(buffer)
        data.attrs["env_args"] = json.dumps({"env_name": buffer.environment, "type": GYM, "env_kwargs": {}})


def _robomimic_entries(steps: TensorDictBase) -> dict[str, Tensor]:
    """Return the entries of one episode `[steps]` by robomimic's names; in `mile/` are those that only we have."""
    after: Any = steps["next"]
    action = steps["executed_action"]
    by_human = DEMO if steps["round"][0] == DEMONSTRATION else HUMAN
    entries = {
        "actions": action if action.ndim > 1 else action.unsqueeze(-1),
        "action_modes": torch.where(steps["intervened"], by_human, ROBOT),
        "rewards": after["reward"],
        "dones": (after["terminated"] | after["truncated"]).long(),
    }
    for name in observed(steps):
        theirs = "state" if name == "observation" else name
        entries[f"obs/{theirs}"], entries[f"next_obs/{theirs}"] = steps[name], after[name]
    for key in OWN:
        if key in steps.keys():
            entries[f"mile/{key}"] = steps[key]
    for key in ("terminated", "truncated", "success"):
        entries[f"mile/{key}"] = after[key]
    return entries


def read_robomimic(path: str | Path, only_known: bool = False, labels: Labels = USUAL) -> Iterator[TensorDict]:
    """Yield the episodes of a robomimic file, `[steps]`, in order.

    In a file of another project, all vectors in `obs` are joined, by name, pictures are entries of their names, and
    episodes that do not say who acted, by `action_modes` or Sirius' `intv_labels`, are demonstrations. Next
    observations that are not in the file follow from the observations, with the last one repeated.

    Args:
        path: Path of the file.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.
        labels: Where an episode's group says who acted.

    Raises:
        OSError: There is no such file, or it is not in HDF5.
        ValueError: It is not laid out as robomimic's files are, or an episode is malformed.
    """
    import h5py

    with h5py.File(path, "r") as file:
        # the groups of the episodes
        _refuse_other_files(file)
        if not isinstance(file.get("data"), h5py.Group):
            raise ValueError("a group 'data' with the demonstrations is expected, as robomimic has it")
        data: Any = file["data"]
        for name in data:
            if not name.rpartition("_")[2].isdecimal():
                raise ValueError(f"the groups in 'data' must be named demo_0, demo_1 and so on, got '{name}'")
        names = sorted(data, key=lambda name: int(name.rpartition("_")[2]))

        # does it tell which episodes succeeded?
        has_success = any(_tells_success(demo) for demo in data.values())
        assumed_success = None if has_success else unknown_successes(path, only_known)

        parts: dict[str, list[str]] = {}
        for number, name in enumerate(names):
            with naming(f"episode {number} ({name})"):
                parts = parts or _parts(path, data[name]["obs"], "mile" in data[name])
                steps = _robomimic_episode(number, data[name], parts, assumed_success, labels)
            yield steps


def _tells_success(demo: Any) -> bool:
    return "mile" in demo or ("rewards" in demo and (demo["rewards"][:] > 0).any())


def _robomimic_episode(
    number: int,
    demo: Any,
    parts: dict[str, list[str]],
    assumed_success: Callable[[int], np.ndarray] | None,
    labels: Labels,
) -> TensorDict:
    """Return the steps of one episode.

    Args:
        number: Number of the episode.
        demo: Group of the episode in the file.
        parts: Names of the observations to join, for each entry.
        assumed_success: Function from the episode's length to its success, if the file does not tell it.
        labels: Where the group says who acted.
    """
    length = len(demo["actions"])
    observations = {entry: _joined(demo["obs"], names) for entry, names in parts.items()}
    followers = {entry: shifted(values) for entry, values in observations.items()}
    if "next_obs" in demo:
        followers = {entry: _joined(demo["next_obs"], names) for entry, names in parts.items()}
    done = demo["dones"][:] if "dones" in demo else is_last(length)

    # who acted, and all that only we have
    entries = {name: demo[name][()] for name in (*label_names(labels), "robot_action") if name in demo}
    if "mile" in demo:
        for key, value in demo["mile"].items():
            entries[key] = value[:]

    return assemble(
        own_entries(entries, labels, length),
        number=number,
        observed=observations,
        followers=followers,
        action=demo["actions"][:],
        after={
            "reward": demo["rewards"][:] if "rewards" in demo else np.zeros(length),
            "terminated": entries.get("terminated", done),
            "truncated": entries.get("truncated", np.zeros(length)),
            "success": assumed_success(length) if assumed_success else entries.get("success"),
        },
    )


def _refuse_other_files(group: Any) -> None:
    """Refuse an HDF5 file whose parts lie in other files of this machine."""
    import h5py

    for name in group:
        part = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(part, h5py.Group):
            _refuse_other_files(part)
        elif part is None or part.external or part.is_virtual:
            raise ValueError(f"'{group.name}/{name}' leads to another place or file; copy its numbers into this file")


def _parts(path: str | Path, group: Any, is_ours: bool) -> dict[str, list[str]]:
    """Return the names in a group of observations that make up each entry of a step; warn of what is neither.

    Args:
        path: Path of the file.
        group: Observations: numbers and vectors of each step, or pictures, `[steps, height, width, channels]` uint8.
        is_ours: Whether each vector is an entry; otherwise they are one together.
    """
    vectors, pictures = [], []
    for name, value in sorted(group.items()):
        if getattr(value, "ndim", 0) in (1, 2) and value.dtype.kind in "biuf":
            vectors.append(name)
        elif getattr(value, "ndim", 0) == 4 and value.dtype == np.uint8:
            pictures.append(name)
    if not vectors and not pictures:
        raise ValueError(f"vectors of numbers, or pictures, are expected in 'obs', got {', '.join(group) or 'nothing'}")
    warn_left_out(path, set(group) - {*vectors, *pictures})

    parts = {name: [name] for name in pictures}
    if is_ours:
        return parts | {"observation" if name == "state" else name: [name] for name in vectors}
    return parts | ({"observation": vectors} if vectors else {})


def _joined(group: Any, names: list[str]) -> np.ndarray:
    """Return the numbers and vectors of these names side by side, `[steps, width]`, or the pictures of one."""
    columns = []
    for name in names:
        values = group[name][:]
        columns.append(values if values.ndim > 1 else values[:, None])
    return np.concatenate(columns, -1)
