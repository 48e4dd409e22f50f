"""Recordings as datasets in LeRobot's layout, v3.0; see `mile.datamodules.exchange.lerobot`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.exchange.lerobot import CAMERAS, COLUMNS, DATA, ENTRIES, EPISODES, FOLLOWERS, VECTORS, VERSION
from mile.envs.frames import png
from mile.transitions import is_picture, observed

STATISTICS = ("min", "max", "mean", "std")


def write_lerobot(buffer: InterventionBuffer, folder: str | Path) -> None:
    """Write a dataset without videos: observed pictures are in its tables, as PNG.

    The picture after an episode's last step stays in the recording, because LeRobot has no place for it.

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
    parts: list[Any] = [buffer.read(episode) for episode in sorted(buffer.episodes)]
    lengths = np.array([len(steps) for steps in parts])

    # frames
    fps = _frames_per_second(parts)
    columns = _columns(parts, lengths, fps)
    table = {}
    for name, value in columns.items():
        if value.ndim == 4:
            table[name] = [{"bytes": png(picture), "path": None} for picture in value]
        else:
            table[name] = list(value) if value.ndim > 1 else value  # pyarrow takes one list a row for a vector
    parquet.write_table(pyarrow.table(table), root / data_path)

    # episodes
    parquet.write_table(pyarrow.table(_episode_columns(lengths, buffer.environment)), root / EPISODES)

    # description
    pandas.DataFrame({"task_index": [0]}, index=[buffer.environment]).to_parquet(root / "meta/tasks.parquet")
    _write_json(root / "meta/info.json", _info(columns, lengths, fps, buffer.environment))
    statistics = {}
    for name, value in columns.items():
        if name == "action" or name.startswith(VECTORS):
            statistics[name] = _statistics(value)
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
    for name in observed(whole):
        if is_picture(whole[name]):
            columns[CAMERAS + name] = whole[name].numpy()
            continue
        theirs = "state" if name == "observation" else name
        columns[VECTORS + theirs] = _flat(whole[name].numpy())
        columns[FOLLOWERS + theirs] = _flat(whole["next", name].numpy())

    # what is ours, as far as it is recorded
    for key in ENTRIES:
        value = whole.get(tuple(key.split(".")), None)
        if value is not None:
            columns[COLUMNS.get(key, key)] = _flat(value.numpy())
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
        if value.ndim == 4:
            features[name] |= {"dtype": "image", "names": ["height", "width", "channels"]}
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


def _flat(value: np.ndarray) -> np.ndarray:
    """Return numbers in place of vectors of length one, as LeRobot has them."""
    return value[:, 0] if value.shape[1:] == (1,) else value


def _statistics(value: np.ndarray) -> dict[str, Any]:
    """Return the statistics of a column as LeRobot has them, one number for each part of a vector, or each colour."""
    if value.ndim == 4:
        rows = value.reshape(-1, value.shape[-1]) / 255
        statistics = {name: getattr(rows, name)(0)[:, None, None].tolist() for name in STATISTICS}
    else:
        rows = value.reshape(len(value), -1).astype(np.float64)
        statistics = {name: getattr(rows, name)(0).tolist() for name in STATISTICS}
    return {**statistics, "count": [len(value)]}
