"""The pictures in the videos of a LeRobot dataset."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

# where a video lies, in v2 and in v3.0; what a dataset says of it is not followed, as it could lead anywhere
IN_V2 = "videos/chunk-{chunk:03d}/{name}/episode_{number:06d}.mp4"
IN_V3 = "videos/{name}/chunk-{chunk:03d}/file-{file:03d}.mp4"
EPISODES = "meta/episodes"


class Videos:
    """Reads the pictures of single episodes from the videos of a dataset.

    Args:
        root: Folder of the dataset.
        info: Its description.
        names: Names of the cameras that are read; for none, nothing is opened.

    Raises:
        ValueError: A camera's name leads to another folder.
    """

    def __init__(self, root: Path, info: dict[str, Any], names: Collection[str]) -> None:
        self.root = root
        self.is_v2 = info["codebase_version"].startswith("v2")
        self.period = 1 / info["fps"] if names else 0.0  # s
        self.chunk_size = info.get("chunks_size", 1000)
        self.places: dict[int, dict[str, Any]] = {}
        for name in names:
            if not (root / "videos" / name).resolve().is_relative_to((root / "videos").resolve()):
                raise ValueError(f"the camera's name '{name}' leads to another folder")
        if names and not self.is_v2:
            self.places = self._places(names)

    def pictures(self, name: str, number: int, length: int) -> np.ndarray:
        """Return the pictures of an episode, `[length, height, width, 3]` uint8.

        Args:
            name: Name of the camera.
            number: Number of the episode.
            length: Number of its frames.

        Raises:
            FileNotFoundError: There is no such video.
            ValueError: It is damaged, or shorter than the episode.
        """
        if self.is_v2:
            path, start = self.root / IN_V2.format(chunk=number // self.chunk_size, name=name, number=number), 0.0
        else:
            place = self.places[number]
            chunk, file = place[f"videos/{name}/chunk_index"], place[f"videos/{name}/file_index"]
            path = self.root / IN_V3.format(chunk=chunk, file=file, name=name)
            start = place[f"videos/{name}/from_timestamp"]
        if not path.is_file():
            raise FileNotFoundError(f"'{path}' is missing; a dataset's videos lie beside its tables")
        pictures = _decoded(path, start - self.period / 2, length)
        if len(pictures) < length:
            raise ValueError(f"'{path}' has {len(pictures)} pictures from {start:.3f} s on, expected {length}")
        return np.stack(pictures)

    def _places(self, names: Collection[str]) -> dict[int, dict[str, Any]]:
        """Return where the pictures of each episode are, by its number."""
        from pyarrow import dataset

        columns = ["episode_index"]
        for name in names:
            columns += [f"videos/{name}/{part}" for part in ("chunk_index", "file_index", "from_timestamp")]
        table = dataset.dataset(self.root / EPISODES, format="parquet").to_table(columns=columns)
        return {row["episode_index"]: row for row in table.to_pylist()}


def _decoded(path: Path, start: float, length: int) -> list[np.ndarray]:
    """Return at most `length` pictures of a video from a time on, each `[height, width, 3]`.

    Args:
        path: Path of the video.
        start: Time, s.
        length: Number of pictures.
    """
    import av
    from av.error import FFmpegError

    pictures: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if start > 0 and stream.time_base is not None:
                container.seek(int(start / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= start:
                    pictures.append(frame.to_ndarray(format="rgb24"))
                if len(pictures) == length:
                    break
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"'{path}' cannot be read as a video ({error})") from error
    return pictures
