"""Recordings in LeRobot's layout, v3.0: parquet tables of all frames and of all episodes, and what describes them.

https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.exchange import OWN, assemble, episodes

DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
COLUMNS = {  # of ours, by their names there; the rest keep their own
    "observation": "observation.state",
    "executed_action": "action",
    "next.observation": "next.state",
    "timestamp": "wall_time",  # LeRobot's own is the frame's number over the frames per second
    "episode": "number",
}

VECTORS = {"observation.state", "next.state", "action", "robot_action", "human_action"}


def write_lerobot(buffer: InterventionBuffer, folder: str | Path) -> None:
    """Write a dataset without videos; pictures stay in the recording.

    Args:
        buffer: at least one episode.
        folder: of the dataset, which does not exist yet.

    Raises:
        FileExistsError: it does.
    """
    import pandas  # noqa: PLC0415
    import pyarrow  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

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
        (root / f"meta/{name}.json").write_text(json.dumps(content, indent=4))


def read_lerobot(folder: str | Path) -> Iterator[TensorDict]:
    """Yield the episodes of a dataset, `[steps]`, in order; those of others become demonstrations.

    Args:
        folder: of the dataset.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is of another version.
    """
    from pyarrow import dataset  # noqa: PLC0415

    root = Path(folder)
    info = json.loads((root / "meta/info.json").read_text())
    if info["codebase_version"] != "v3.0":
        raise ValueError(f"a LeRobot dataset v3.0 is expected, '{folder}' is {info['codebase_version']}")
    table = dataset.dataset(root / "data", format="parquet").to_table().sort_by("index")
    dtypes = {name: feature["dtype"] for name, feature in info["features"].items()}
    columns = {name: np.array(table[name].to_pylist(), dtypes[name]) for name in table.column_names}
    for name in VECTORS & columns.keys():
        if columns[name].ndim == 1 and np.issubdtype(columns[name].dtype, np.floating):
            columns[name] = columns[name][:, None]
    for number in np.unique(columns["episode_index"]):
        rows = columns["episode_index"] == number
        its = {name: value[rows] for name, value in columns.items()}
        seen = its["observation.state"]
        last = np.arange(len(seen)) == len(seen) - 1
        done = its.get("next.done", last)
        yield assemble(
            {key: its[COLUMNS.get(key, key)] for key in OWN if COLUMNS.get(key, key) in its},
            number=int(number),
            observation=seen,
            executed_action=its["action"],
            after={
                "observation": its.get("next.state", np.concatenate([seen[1:], seen[-1:]])),
                "reward": its.get("next.reward", np.zeros(len(seen), np.float32)),
                "terminated": its.get("next.terminated", done),
                "truncated": its.get("next.truncated", np.zeros_like(done)),
                "success": its.get("next.success", np.zeros_like(done)),
            },
        )


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
