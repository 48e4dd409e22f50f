"""Recordings in LeRobot's layout, v3.0: parquet tables of all frames and of all episodes, and files that describe them.

https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.exchange import episodes
from mile.datamodules.foreign import OWN, all_own, assemble, is_last, naming, shifted, unknown_successes, warn_left_out
from mile.envs.frames import compress, read_picture
from mile.files import read_json

VERSION = "v3.0"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
NEXT = ("next.observation", "next.reward", "next.terminated", "next.truncated", "next.success")
ENTRIES = ("observation", "executed_action", *OWN, *NEXT)  # all that are written and read
COLUMNS = {  # LeRobot's names of our entries; the rest keep their own names
    "observation": "observation.state",
    "executed_action": "action",
    "next.observation": "next.state",
    "timestamp": "wall_time",  # LeRobot's own is the frame's number over the frames per second
    "episode": "number",
}
NEEDED = ("episode_index", "frame_index", "observation.state", "action")
COUNTED = {"timestamp", "index", "task_index"}  # columns that follow from the rest


def write_lerobot(buffer: InterventionBuffer, folder: str | Path) -> None:
    """Write a dataset without videos; pictures stay in the recording.

    Args:
        buffer: Recording of at least one episode.
        folder: Folder of the dataset, which does not exist yet.

    Raises:
        FileExistsError: The folder exists.
    """
    import pandas
    import pyarrow
    from pyarrow import parquet

    root = Path(folder)
    data_path = DATA.format(chunk_index=0, file_index=0)
    (root / data_path).parent.mkdir(parents=True)
    (root / EPISODES).parent.mkdir(parents=True, exist_ok=True)
    parts: list[Any] = list(episodes(buffer))
    lengths = np.array([len(steps) for steps in parts])

    # frames
    fps = _frames_per_second(parts)
    columns = _columns(parts, lengths, fps)
    table = {}
    for name, value in columns.items():
        table[name] = list(value) if value.ndim > 1 else value  # pyarrow takes one list a row for a vector
    parquet.write_table(pyarrow.table(table), root / data_path)

    # episodes
    parquet.write_table(pyarrow.table(_episode_columns(lengths, buffer.environment)), root / EPISODES)

    # description
    pandas.DataFrame({"task_index": [0]}, index=[buffer.environment]).to_parquet(root / "meta/tasks.parquet")
    _write_json(root / "meta/info.json", _info(columns, lengths, fps, buffer.environment))
    statistics = {name: _statistics(columns[name]) for name in ("observation.state", "action")}
    _write_json(root / "meta/stats.json", statistics)


def _frames_per_second(parts: list[Any]) -> int:
    """Return the median rate of some episodes' steps, at least 1."""
    periods = np.concatenate([np.diff(steps["timestamp"].numpy()) for steps in parts])
    period = np.median(periods)
    return max(1, round(1 / period)) if period > 0 else 1


def _columns(parts: list[Any], lengths: np.ndarray, fps: int) -> dict[str, np.ndarray]:
    """Return the columns of the table of all frames, each `[frames]` or `[frames, width]`."""
    whole: Any = torch.cat(parts)
    columns = {}
    for key in ENTRIES:
        columns[COLUMNS.get(key, key)] = _flat(whole[tuple(key.split("."))].numpy())
    frame = np.concatenate([np.arange(length) for length in lengths])
    return columns | {
        "next.done": columns["next.terminated"] | columns["next.truncated"],
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(len(frame)),
        "task_index": np.zeros_like(frame),
    }


def _episode_columns(lengths: np.ndarray, environment: str) -> dict[str, Any]:
    """Return the columns of the table of all episodes: their frames, and the file that these lie in."""
    ends = lengths.cumsum()
    columns: dict[str, Any] = {
        "episode_index": np.arange(len(lengths)),
        "tasks": [[environment]] * len(lengths),
        "length": lengths,
        "dataset_from_index": ends - lengths,
        "dataset_to_index": ends,
    }
    for part in ("data", "meta/episodes"):
        columns[f"{part}/chunk_index"] = columns[f"{part}/file_index"] = 0 * ends
    return columns


def _info(columns: dict[str, np.ndarray], lengths: np.ndarray, fps: int, environment: str) -> dict[str, Any]:
    """Return the description of a dataset, in the words of LeRobot's v3.0."""
    features = {}
    for name, value in columns.items():
        features[name] = {"dtype": str(value.dtype), "shape": list(value.shape[1:]) or [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": environment,
        "total_episodes": len(lengths),
        "total_frames": int(lengths.sum()),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": DATA,
        "video_path": None,
        "features": features,
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def read_lerobot(folder: str | Path, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a dataset, `[steps]`, in order; those of other projects become demonstrations.

    The pictures of the first camera that has some in the tables become `frame`.

    Args:
        folder: Folder of the dataset.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.

    Raises:
        FileNotFoundError: There is no such dataset.
        ValueError: It is of another version, or an episode is malformed.
    """
    from pyarrow import dataset

    root = Path(folder)
    info = read_json(root / "meta/info.json")
    if info["codebase_version"] != VERSION:
        raise ValueError(f"a LeRobot dataset {VERSION} is expected, got {info['codebase_version']}")
    data = dataset.dataset(root / "data", format="parquet")

    # columns that can be read
    used = _usable_columns(data)
    camera = _first_camera(data)
    videos = {name for name, feature in info["features"].items() if feature["dtype"] == "video"}
    warn_left_out(folder, {*data.schema.names, *videos} - {*used, camera} - COUNTED)

    # does it tell which episodes succeeded?
    has_success = "next.success" in used or ("next.reward" in used and _any_reward(data))
    assumed_success = None if has_success else unknown_successes(folder, only_known)

    for number in np.unique(data.to_table(columns=["episode_index"])["episode_index"]).tolist():
        with naming(f"episode {number}"):
            rows = dataset.field("episode_index") == number
            table = data.to_table(columns=[*used, camera] if camera else used, filter=rows).sort_by("frame_index")
            columns = {name: _array(table[name]) for name in used}
            steps = _episode(number, columns, assumed_success)
            if camera:
                frames = torch.from_numpy(np.stack([_frame(value) for value in table[camera].to_pylist()]))
                steps["frame"], steps["next", "frame"] = frames, torch.cat([frames[1:], frames[-1:]])
        yield steps


def _usable_columns(data: Any) -> list[str]:
    """Return the columns of numbers that a step has a place for."""
    known = {*NEEDED, "next.done", *(COLUMNS.get(key, key) for key in ENTRIES)}
    used = []
    for field in data.schema:
        if field.name in known and _type(field.type) is not None:
            used.append(field.name)
    for name in NEEDED:
        if name not in used:
            raise ValueError(f"columns of numbers {', '.join(NEEDED)} are expected, there is no {name}")
    return used


def _first_camera(data: Any) -> str | None:
    """Return the first column with a picture in its first row."""
    for row in data.head(1).to_pylist():
        for name, value in row.items():
            if _picture(value) is not None:
                return name
    return None


def _any_reward(data: Any) -> bool:
    """Return whether any frame has a positive reward."""
    rewards = data.to_batches(columns=["next.reward"])
    return any((_array(batch["next.reward"]) > 0).any() for batch in rewards)


def _episode(
    number: int, columns: dict[str, np.ndarray], assumed_success: Callable[[int], np.ndarray] | None
) -> TensorDict:
    """Return the steps of one episode.

    Args:
        number: Number of the episode.
        columns: Columns of its frames, in order, by name.
        assumed_success: Function from the episode's length to its success, if the dataset does not tell it.

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

    own = {}
    for key in OWN:
        column = COLUMNS.get(key, key)
        if column in columns:
            own[key] = columns[column]

    observations, done = columns["observation.state"], columns.get("next.done", is_last(length))
    return assemble(
        all_own(own),
        number=number,
        observation=observations,
        action=columns["action"],
        after={
            "observation": columns.get("next.state", shifted(observations)),
            "reward": columns.get("next.reward", np.zeros(length)),
            "terminated": columns.get("next.terminated", done),
            "truncated": columns.get("next.truncated", np.zeros(length)),
            "success": assumed_success(length) if assumed_success else columns.get("next.success"),
        },
    )


def _type(kind: Any) -> Any:
    """Return the NumPy type of a column of numbers or vectors; None if it holds something else."""
    from pyarrow import types

    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return kind.to_pandas_dtype() if is_number else None


def _array(column: Any) -> np.ndarray:
    """Return a column of numbers, `[frames]`, or of vectors, `[frames, width]`."""
    if column.null_count:
        raise ValueError("a value is missing in a column of numbers")
    return np.array(column.to_pylist(), _type(column.type))


def _picture(value: Any) -> np.ndarray | None:
    """Return the picture `[height, width, 3]` in a cell, if there is one; a file that the cell names is not read."""
    content = value.get("bytes") if isinstance(value, dict) else None
    try:
        return read_picture(content, "PNG", "JPEG") if isinstance(content, bytes) else None
    except ValueError:
        return None


def _frame(value: Any) -> np.ndarray:
    """Return the picture in a cell as a recording has it; see `mile.envs.frames`."""
    picture = _picture(value)
    if picture is None:
        raise ValueError("the first step has a picture (PNG or JPEG), another one has none that can be read")
    return compress(picture)


def _flat(value: np.ndarray) -> np.ndarray:
    """Return numbers in place of vectors of length one, as LeRobot has them."""
    return value[:, 0] if value.shape[1:] == (1,) else value


def _statistics(value: np.ndarray) -> dict[str, list[float]]:
    """Return the statistics of a column as LeRobot has them, each a list of one number for each part of a vector."""
    rows = value.reshape(len(value), -1).astype(np.float64)
    statistics = {name: getattr(rows, name)(0).tolist() for name in ("min", "max", "mean", "std")}
    return {**statistics, "count": [len(rows)]}
