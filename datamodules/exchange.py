"""Recordings in the formats of other projects: Minari's datasets, and robomimic's HDF5 files.

Both hold every entry of `mile.transitions` except those that few environments report (state, pictures). These stay in
the recording; nothing else is lost on the way there and back.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.foreign import OWN, all_own, assemble, is_last, naming, shifted, unknown_successes, warn_left_out
from mile.files import read_json
from mile.transitions import DEMONSTRATION

DEMO, ROBOT, INTERVENTION = -1, 0, 1  # robomimic's action_modes
GYM = 2  # robomimic's number of the kind of environment


def episodes(buffer: InterventionBuffer) -> Iterator[TensorDictBase]:
    """Yield the committed episodes, each `[steps]`, by round and number; ValueError if they are not of vectors."""
    if "observation" not in buffer.entries or buffer.pictures.names:
        raise ValueError(f"'{buffer.folder}' has pictures or several entries: a vector alone is exported so far")
    for episode in sorted(buffer.episodes):
        yield buffer.read(episode)


# Minari


def write_minari(buffer: InterventionBuffer, dataset: str) -> None:
    """Write a Minari dataset: its actions are the executed ones, and its infos hold the entries that only we have.

    Args:
        buffer: Recording of at least one episode.
        dataset: Id of the dataset, such as "lunarlander/people-v0". It is written to Minari's own folder
            (MINARI_DATASETS_PATH).

    Raises:
        ValueError: There is such a dataset already, or the id is malformed.
    """
    from minari import create_dataset_from_buffers
    from minari.data_collector.episode_buffer import EpisodeBuffer

    # episodes
    minari_episodes = []
    for number, steps in enumerate(episodes(buffer)):
        after: Any = steps["next"]
        observations: Any = torch.cat([steps["observation"], after["observation"][-1:]]).numpy()
        infos = {key: steps[key].numpy() for key in OWN}
        infos["success"] = after["success"].numpy()
        minari_episodes.append(
            EpisodeBuffer(
                id=number,
                observations=observations,
                actions=steps["executed_action"].numpy(),  # pyright: ignore
                rewards=after["reward"].numpy(),  # pyright: ignore
                terminations=after["terminated"].numpy(),  # pyright: ignore
                truncations=after["truncated"].numpy(),  # pyright: ignore
                infos=infos,
            )
        )

    # spaces
    observation, action = buffer.steps["observation"], buffer.steps["executed_action"]
    observation_space = spaces.Box(-np.inf, np.inf, observation.shape[1:], observation.numpy().dtype.type)
    if action.is_floating_point():
        action_space: Any = spaces.Box(-1, 1, action.shape[1:], action.numpy().dtype.type)
    else:
        highest = max(int(action.max()), int(buffer.steps["robot_action"].max()))
        action_space = spaces.Discrete(highest + 1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Minari's, about an author, a link, an environment to be named
        create_dataset_from_buffers(
            dataset,
            minari_episodes,
            observation_space=observation_space,
            action_space=action_space,
            description=f"Recorded by MILE in '{buffer.environment}': infos hold what robot and human did.",
        )


def read_minari(dataset: str, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a Minari dataset, `[steps]`; those of other projects become demonstrations.

    Args:
        dataset: Id of a dataset on this machine.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.

    Raises:
        FileNotFoundError: There is no such dataset.
        ValueError: Its observations or actions are of an unsupported kind, or an episode is malformed.
    """
    from minari import load_dataset
    from minari.storage.datasets_root_dir import get_dataset_path

    # without its spaces Minari would make the environment that the data set names, which may be anything
    metadata = get_dataset_path(dataset) / "data" / "metadata.json"
    if metadata.exists() and not {"observation_space", "action_space"} <= read_json(metadata).keys():
        raise ValueError("a data set must name its observation_space and its action_space; it was not opened")
    minari_dataset = load_dataset(dataset)
    if not isinstance(minari_dataset.observation_space, spaces.Box):
        raise ValueError(f"observations must be vectors of numbers (Box), got {minari_dataset.observation_space}")
    if not isinstance(minari_dataset.action_space, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions must be numbers (Discrete) or vectors (Box), got {minari_dataset.action_space}")

    # does it tell which episodes succeeded?
    has_success = any("success" in (episode.infos or {}) for episode in minari_dataset.iterate_episodes())
    assumed_success = None if has_success else unknown_successes(dataset, only_known)

    for episode in minari_dataset.iterate_episodes():
        with naming(f"episode {int(episode.id)}"):
            length, observations = len(episode.actions), np.asarray(episode.observations)
            infos = episode.infos or {}
            success = assumed_success(length) if assumed_success else infos.get("success", np.zeros(length))
            steps = assemble(
                all_own(infos),
                number=int(episode.id),
                observation=observations[:-1],
                action=episode.actions,
                after={
                    "observation": observations[1:],
                    "reward": episode.rewards,
                    "terminated": episode.terminations,
                    "truncated": episode.truncations,
                    "success": success[-length:],  # infos by Minari's own recorder begin with the reset's
                },
            )
        yield steps


# robomimic


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
        for number, steps in enumerate(episodes(buffer)):
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
    by_human = DEMO if steps["round"][0] == DEMONSTRATION else INTERVENTION
    entries = {
        "actions": action if action.ndim > 1 else action.unsqueeze(-1),
        "action_modes": torch.where(steps["intervened"], by_human, ROBOT),
        "rewards": after["reward"],
        "dones": (after["terminated"] | after["truncated"]).long(),
        "obs/state": steps["observation"],
        "next_obs/state": after["observation"],
    }
    for key in OWN:
        entries[f"mile/{key}"] = steps[key]
    for key in ("terminated", "truncated", "success"):
        entries[f"mile/{key}"] = after[key]
    return entries


def read_robomimic(path: str | Path, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a robomimic file with low-dimensional observations, `[steps]`, in order.

    In a file of another project, all vectors in `obs` are joined, by name, and steps without `action_modes` are
    demonstrations. Next observations that are not in the file follow from the observations, with the last one repeated.

    Args:
        path: Path of the file.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.

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

        vectors: list[str] = []
        for number, name in enumerate(names):
            with naming(f"episode {number} ({name})"):
                vectors = vectors or _vectors(path, data[name]["obs"])
                steps = _robomimic_episode(number, data[name], vectors, assumed_success)
            yield steps


def _tells_success(demo: Any) -> bool:
    return "mile" in demo or ("rewards" in demo and (demo["rewards"][:] > 0).any())


def _robomimic_episode(
    number: int, demo: Any, vectors: list[str], assumed_success: Callable[[int], np.ndarray] | None
) -> TensorDict:
    """Return the steps of one episode.

    Args:
        number: Number of the episode.
        demo: Group of the episode in the file.
        vectors: Names of the observations to join.
        assumed_success: Function from the episode's length to its success, if the file does not tell it.
    """
    length, observations = len(demo["actions"]), _joined(demo["obs"], vectors)
    done = demo["dones"][:] if "dones" in demo else is_last(length)
    own: dict[str, Any] = {}
    if "mile" in demo:
        for key, value in demo["mile"].items():
            own[key] = value[:]
    if "action_modes" in demo and "intervened" not in own:
        modes = demo["action_modes"][:]
        own["intervened"] = modes != ROBOT
        own["round"] = np.full(length, DEMONSTRATION if (modes == DEMO).all() else 0)

    return assemble(
        {key: own[key] for key in OWN if key in own},
        number=number,
        observation=observations,
        action=demo["actions"][:],
        after={
            "observation": _joined(demo["next_obs"], vectors) if "next_obs" in demo else shifted(observations),
            "reward": demo["rewards"][:] if "rewards" in demo else np.zeros(length),
            "terminated": own.get("terminated", done),
            "truncated": own.get("truncated", np.zeros(length)),
            "success": assumed_success(length) if assumed_success else own.get("success"),
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


def _vectors(path: str | Path, group: Any) -> list[str]:
    """Return the names of the numbers and vectors in each step, and warn which entries are something else."""
    names = []
    for name, value in sorted(group.items()):
        if getattr(value, "ndim", 0) in (1, 2) and value.dtype.kind in "biuf":
            names.append(name)
    if not names:
        raise ValueError(f"vectors of numbers are expected in 'obs', got {', '.join(group) or 'nothing'}")
    warn_left_out(path, set(group) - set(names))
    return names


def _joined(group: Any, names: list[str]) -> np.ndarray:
    """Return the numbers and vectors of these names side by side, `[steps, width]`."""
    columns = []
    for name in names:
        values = group[name][:]
        columns.append(values if values.ndim > 1 else values[:, None])
    return np.concatenate(columns, -1)
