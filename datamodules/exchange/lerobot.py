"""Datasets in LeRobot's layout, v2 and v3.0: parquet tables of frames and of episodes, and files that describe them.

https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tensordict import TensorDict

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
from mile.datamodules.exchange.labels import USUAL, Labels, label_names
from mile.datamodules.exchange.videos import Videos
from mile.envs.frames import read_picture
from mile.files import read_json

VERSION = "v3.0"
READABLE = ("v2.0", "v2.1", VERSION)
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
ENTRIES = ("executed_action", *OWN, "next.reward", "next.terminated", "next.truncated", "next.success")  # both ways
VECTORS, FOLLOWERS, CAMERAS = "observation.", "next.", "observation.images."  # what is observed begins with these
COLUMNS = {  # LeRobot's names of our entries; the rest keep their own names
    "executed_action": "action",
    "timestamp": "wall_time",  # LeRobot's own is the frame's number over the frames per second
    "episode": "number",
    "intervened": "intervention",
}
NEEDED = ("episode_index", "frame_index", "action")
COUNTED = {"timestamp", "index", "task_index"}  # columns that follow from the rest


def read_lerobot(
    folder: str | Path,
    only_known: bool = False,
    labels: Labels = USUAL,
    wanted: Collection[str] = (),
) -> Iterator[TensorDict]:
    """Yield the episodes of a dataset, `[steps]`, in order; where no column says who acted, as demonstrations.

    Vectors and the pictures in the tables are entries by the names of their columns, and so are the videos that are
    wanted. The picture after an episode's last step, which no dataset has, is the last one again.

    Args:
        folder: Folder of the dataset.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.
        labels: Column that says who acted.
        wanted: Entries to be read from videos, where the tables do not have them.

    Raises:
        FileNotFoundError: There is no such dataset, or a video is missing.
        ValueError: It is of another version, or an episode is malformed.
    """
    from pyarrow import dataset

    root = Path(folder)
    info = read_json(root / "meta/info.json")
    if info["codebase_version"] not in READABLE:
        raise ValueError(f"a LeRobot dataset {', '.join(READABLE)} is expected, got {info['codebase_version']}")
    data = dataset.dataset(root / "data", format="parquet")

    # columns that can be read
    cameras = _cameras(data)
    videos = {name for name, feature in info["features"].items() if feature["dtype"] == "video"}
    decoded = {name for name in videos if entry_of(name) in wanted and name not in cameras}
    used = _usable_columns(data, {*cameras, *decoded}, labels)
    reader = Videos(root, info, decoded)
    warn_left_out(folder, {*data.schema.names, *videos} - {*used, *cameras, *decoded} - COUNTED)

    # does it tell which episodes succeeded?
    has_success = "next.success" in used or ("next.reward" in used and _any_reward(data))
    assumed_success = None if has_success else unknown_successes(folder, only_known)

    for number in np.unique(data.to_table(columns=["episode_index"])["episode_index"]).tolist():
        with naming(f"episode {number}"):
            rows = dataset.field("episode_index") == number
            table = data.to_table(columns=[*used, *cameras], filter=rows).sort_by("frame_index")
            columns = {name: _array(table[name]) for name in used}
            for name, channels in cameras.items():
                columns[name] = np.stack([_camera_picture(value, channels) for value in table[name].to_pylist()])
            for name in decoded:
                columns[name] = reader.pictures(name, number, table.num_rows)
            steps = _episode(number, columns, assumed_success, labels)
        yield steps


def _usable_columns(data: Any, cameras: Collection[str], labels: Labels) -> list[str]:
    """Return the columns that a step has a place for: of numbers, or of words that say who acted."""
    known = {*NEEDED, "next.done", *(COLUMNS.get(key, key) for key in ENTRIES)}
    roles = label_names(labels)
    entries = {name for name in data.schema.names if name.startswith(VECTORS) and name not in cameras}
    known |= entries | {name.replace(VECTORS, FOLLOWERS, 1) for name in entries}
    used = []
    for field in data.schema:
        is_number = _type(field.type) is not None
        if (field.name in known and is_number) or (field.name in roles and (is_number or _is_text(field.type))):
            used.append(field.name)

    for name in NEEDED:
        if name not in used:
            raise ValueError(f"columns of numbers {', '.join(NEEDED)} are expected, there is no {name}")
    if not cameras and not entries.intersection(used):
        raise ValueError(
            f"a column of what is observed, '{VECTORS}state' or pictures as wanted, is expected, there is none"
        )
    return used


def _cameras(data: Any) -> dict[str, int]:
    """Return the columns with a picture in their first row, and how many colours each has."""
    cameras = {}
    for row in data.head(1).to_pylist():
        for name, value in row.items():
            picture = _picture(value)
            if picture is not None:
                cameras[name] = picture.shape[-1]
    return cameras


def _any_reward(data: Any) -> bool:
    """Return whether any frame has a positive reward."""
    rewards = data.to_batches(columns=["next.reward"])
    return any((_array(batch["next.reward"]) > 0).any() for batch in rewards)


def _episode(
    number: int,
    columns: dict[str, np.ndarray],
    assumed_success: Callable[[int], np.ndarray] | None,
    labels: Labels,
) -> TensorDict:
    """Return the steps of one episode.

    Args:
        number: Number of the episode.
        columns: Columns of its frames, in order, by name.
        assumed_success: Function from the episode's length to its success, if the dataset does not tell it.
        labels: Column that says who acted.

    Raises:
        ValueError: Frames are missing, or there twice.
    """
    frames, length = columns["frame_index"].tolist(), len(columns["frame_index"])
    for place, frame in enumerate(frames):
        if frame != place:
            raise ValueError(
                f"'frame_index' must be 0 to {length - 1}, each once, got {frame} in place of {place}; are these two "
                "episodes of one number?"
            )

    # who acted, and all that only we have
    entries = {name: columns[name] for name in label_names(labels) if name in columns}
    for key in OWN:
        column = COLUMNS.get(key, key)
        if column in columns:
            entries[key] = columns[column]

    observed, followers = {}, {}
    for column, values in columns.items():
        if column.startswith(VECTORS):
            name = entry_of(column)
            observed[name] = values
            followers[name] = columns.get(column.replace(VECTORS, FOLLOWERS, 1), shifted(values))

    done = columns.get("next.done", is_last(length))
    return assemble(
        own_entries(entries, labels, length),
        number=number,
        observed=observed,
        followers=followers,
        action=columns["action"],
        after={
            "reward": columns.get("next.reward", np.zeros(length)),
            "terminated": columns.get("next.terminated", done),
            "truncated": columns.get("next.truncated", np.zeros(length)),
            "success": assumed_success(length) if assumed_success else columns.get("next.success"),
        },
    )


def _is_text(kind: Any) -> bool:
    """Return whether a column holds words."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _type(kind: Any) -> Any:
    """Return the NumPy type of a column of numbers or vectors; None if it holds something else."""
    from pyarrow import types

    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return kind.to_pandas_dtype() if is_number else None


def _array(column: Any) -> np.ndarray:
    """Return a column of numbers or words, `[frames]`, or of vectors, `[frames, width]`."""
    if column.null_count:
        raise ValueError("a value is missing in a column of numbers or words")
    return np.array(column.to_pylist(), _type(column.type))


def entry_of(column: str) -> str:
    """Return the name of the entry that a column of what is observed holds."""
    name = column.removeprefix(CAMERAS).removeprefix(VECTORS).replace(".", "_")
    return "observation" if name == "state" else name


def _picture(value: Any) -> np.ndarray | None:
    """Return the picture `[height, width, channels]` in a cell, if there is one; a file that it names is not read."""
    content = value.get("bytes") if isinstance(value, dict) else None
    try:
        return read_picture(content, "PNG", "JPEG") if isinstance(content, bytes) else None
    except ValueError:
        return None


def _camera_picture(value: Any, channels: int) -> np.ndarray:
    """Return the picture in a cell, `[height, width, channels]`."""
    picture = _picture(value)
    if picture is None:
        raise ValueError("the first step has a picture (PNG or JPEG), another one has none that can be read")
    if picture.shape[-1] != channels:
        raise ValueError(f"pictures of {channels} colours are expected, as the first is, got {picture.shape[-1]}")
    return picture
