"""Recordings in LeRobot's layout, v3.0: parquet tables of all frames and of all episodes, and what describes them.

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
from mile.datamodules.foreign import OWN, all_own, assemble, last, left_out, naming, shifted, unknown_successes
from mile.envs.frames import compress, read_picture
from mile.files import read_json

DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
COLUMNS = {  # of ours, by their names there; the rest keep their own
    "observation": "observation.state",
    "executed_action": "action",
    "next.observation": "next.state",
    "timestamp": "wall_time",  # LeRobot's own is the frame's number over the frames per second
    "episode": "number",
}
NEEDED = ("episode_index", "frame_index", "observation.state", "action")
COUNTED = {"timestamp", "index", "task_index"}  # what follows from the rest


def write_lerobot(buffer: InterventionBuffer, folder: str | Path) -> None:
    """Write a dataset without videos; pictures stay in the recording.

    Args:
        buffer: at least one episode.
        folder: of the dataset, which does not exist yet.

    Raises:
        FileExistsError: it does.
    """
    import pandas
    import pyarrow
    from pyarrow import parquet

    root = Path(folder)
    for path in (DATA.format(chunk_index=0, file_index=0), EPISODES):
        (root / path).parent.mkdir(parents=True, exist_ok=path == EPISODES)
    parts: list[Any] = list(episodes(buffer))
    lengths = np.array([len(steps) for steps in parts])
    ends = lengths.cumsum()
    whole: Any = torch.cat(parts)
    period = np.median(np.concatenate([np.diff(steps["timestamp"].numpy()) for steps in parts]))
    fps = max(1, round(1 / period)) if period > 0 else 1
    frame = np.concatenate([np.arange(length) for length in lengths])
    columns = {COLUMNS.get(key, key): _flat(whole[tuple(key.split("."))].numpy()) for key in _entries()}
    columns |= {
        "next.done": columns["next.terminated"] | columns["next.truncated"],
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(len(frame)),
        "task_index": np.zeros_like(frame),
    }
    table = {name: list(value) if value.ndim > 1 else value for name, value in columns.items()}
    parquet.write_table(pyarrow.table(table), root / DATA.format(chunk_index=0, file_index=0))
    about = {
        "episode_index": np.arange(len(lengths)),
        "tasks": [[buffer.environment]] * len(lengths),
        "length": lengths,
        "dataset_from_index": ends - lengths,
        "dataset_to_index": ends,
        **{f"{part}/{kind}_index": 0 * ends for part in ("data", "meta/episodes") for kind in ("chunk", "file")},
    }
    parquet.write_table(pyarrow.table(about), root / EPISODES)
    pandas.DataFrame({"task_index": [0]}, index=[buffer.environment]).to_parquet(root / "meta/tasks.parquet")
    features = {
        name: {"dtype": str(value.dtype), "shape": list(value.shape[1:]) or [1], "names": None}
        for name, value in columns.items()
    }
    info = {
        "codebase_version": "v3.0",
        "robot_type": buffer.environment,
        "total_episodes": len(lengths),
        "total_frames": len(frame),
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
    statistics = {name: _statistics(columns[name]) for name in ("observation.state", "action")}
    for name, content in (("info", info), ("stats", statistics)):
        (root / f"meta/{name}.json").write_text(json.dumps(content, indent=4), encoding="utf-8")


def read_lerobot(folder: str | Path, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a dataset, `[steps]`, in order; those of others become demonstrations.

    The pictures of the first camera that has some in the tables become `frame`.

    Args:
        folder: of the dataset.
        only_known: where nothing tells which episodes succeeded, none counts; otherwise all do.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another version, or an episode is malformed.
    """
    from pyarrow import dataset

    root = Path(folder)
    info = read_json(root / "meta/info.json")
    if info["codebase_version"] != "v3.0":
        raise ValueError(f"a LeRobot dataset v3.0 is expected, got {info['codebase_version']}")
    data = dataset.dataset(root / "data", format="parquet")

    # what can be read of it
    known = {*NEEDED, "next.done", *(COLUMNS.get(key, key) for key in _entries())}
    used = [field.name for field in data.schema if field.name in known and _type(field.type) is not None]
    if missing := [name for name in NEEDED if name not in used]:
        raise ValueError(f"columns of numbers {', '.join(NEEDED)} are expected, there is no {missing[0]}")
    first = data.head(1).to_pylist()
    camera = next((name for row in first for name, value in row.items() if _picture(value) is not None), None)
    videos = {name for name, feature in info["features"].items() if feature["dtype"] == "video"}
    left_out(folder, {*data.schema.names, *videos} - {*used, camera} - COUNTED)
    rewards = data.to_batches(columns=["next.reward"]) if "next.reward" in used else []
    told = "next.success" in used or any((_array(batch["next.reward"]) > 0).any() for batch in rewards)
    unknown = None if told else unknown_successes(folder, only_known)

    for number in np.unique(data.to_table(columns=["episode_index"])["episode_index"]).tolist():
        with naming(f"episode {number}"):
            rows = dataset.field("episode_index") == number
            table = data.to_table(columns=[*used, camera] if camera else used, filter=rows).sort_by("frame_index")
            columns = {name: _array(table[name]) for name in used}
            steps = _episode(number, columns, unknown)
            if camera:
                frames = torch.from_numpy(np.stack([_frame(value) for value in table[camera].to_pylist()]))
                steps["frame"], steps["next", "frame"] = frames, torch.cat([frames[1:], frames[-1:]])
        yield steps


def _episode(number: int, columns: dict[str, np.ndarray], unknown: Callable[[int], np.ndarray] | None) -> TensorDict:
    """Return the steps of one episode.

    Args:
        number: of the episode.
        columns: of its frames, in order, by name.
        unknown: what is assumed of its success, if that is not told.

    Raises:
        ValueError: frames are missing, or there twice.
    """
    frames, length = columns["frame_index"].tolist(), len(columns["frame_index"])
    if frames != list(range(length)):
        place = next(place for place, frame in enumerate(frames) if frame != place)
        raise ValueError(
            f"'frame_index' must be 0 to {length - 1}, each once, got {frames[place]} in place of {place}; are these "
            "two episodes of one number?"
        )
    seen, done = columns["observation.state"], columns.get("next.done", last(length))
    own = {key: columns[COLUMNS.get(key, key)] for key in OWN if COLUMNS.get(key, key) in columns}
    return assemble(
        all_own(own),
        number=number,
        observation=seen,
        action=columns["action"],
        after={
            "observation": columns.get("next.state", shifted(seen)),
            "reward": columns.get("next.reward", np.zeros(length)),
            "terminated": columns.get("next.terminated", done),
            "truncated": columns.get("next.truncated", np.zeros(length)),
            "success": unknown(length) if unknown else columns.get("next.success"),
        },
    )


def _type(kind: Any) -> Any:
    """Return the NumPy type of a column of numbers or vectors of them, None if it holds something else."""
    from pyarrow import types

    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return kind.to_pandas_dtype() if is_number else None


def _array(column: Any) -> np.ndarray:
    if column.null_count:
        raise ValueError("a value is missing in a column of numbers")
    return np.array(column.to_pylist(), _type(column.type))


def _picture(value: Any) -> np.ndarray | None:
    """Return the picture `[height, width, 3]` in a cell, if there is one; a file that it names is not read."""
    content = value.get("bytes") if isinstance(value, dict) else None
    try:
        return read_picture(content, "PNG", "JPEG") if isinstance(content, bytes) else None
    except ValueError:
        return None


def _frame(value: Any) -> np.ndarray:
    picture = _picture(value)
    if picture is None:
        raise ValueError("the first step has a picture (PNG or JPEG), another one has none that can be read")
    return compress(picture)


def _entries() -> list[str]:
    """Return the entries of a step, those of the next one with a dot."""
    following = [f"next.{key}" for key in ("observation", "reward", "terminated", "truncated", "success")]
    return ["observation", "executed_action", *OWN, *following]


def _flat(value: np.ndarray) -> np.ndarray:
    """Return numbers instead of vectors of one, as LeRobot has them."""
    return value[:, 0] if value.shape[1:] == (1,) else value


def _statistics(value: np.ndarray) -> dict[str, list[float]]:
    rows = value.reshape(len(value), -1).astype(np.float64)
    found = {name: getattr(rows, name)(0).tolist() for name in ("min", "max", "mean", "std")}
    return {**found, "count": [len(rows)]}
