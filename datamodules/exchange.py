"""Recordings in the formats of others: Minari's datasets, and robomimic's HDF5 files.

Both hold every entry of `mile.transitions` but those that few environments report (state, pictures): these stay in the
recording, and nothing else is lost on the way there and back.
"""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict, TensorDictBase

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.foreign import OWN, all_own, assemble, last, left_out, naming, shifted, unknown_successes
from mile.files import read_json
from mile.transitions import DEMONSTRATION

DEMO, ROBOT, INTERVENTION = -1, 0, 1  # robomimic's action_modes


def episodes(buffer: InterventionBuffer) -> Iterator[TensorDictBase]:
    """Yield the committed episodes, each `[steps]`, by round and number."""
    for it in sorted(buffer.episodes):
        yield buffer.steps[it.start : it.start + it.length]


def write_minari(buffer: InterventionBuffer, dataset: str) -> None:
    """Write a Minari dataset: the actions are those executed, everything of our own is in the infos.

    Args:
        buffer: at least one episode.
        dataset: its id, such as "lunarlander/people-v0"; it lies where Minari keeps them (MINARI_DATASETS_PATH).

    Raises:
        ValueError: there is such a dataset, or the id is malformed.
    """
    from minari import create_dataset_from_buffers
    from minari.data_collector.episode_buffer import EpisodeBuffer

    made = []
    for number, steps in enumerate(episodes(buffer)):
        after: Any = steps["next"]
        seen: Any = torch.cat([steps["observation"], after["observation"][-1:]]).numpy()
        infos = {key: steps[key].numpy() for key in OWN} | {"success": after["success"].numpy()}
        made.append(
            EpisodeBuffer(
                id=number,
                observations=seen,
                actions=steps["executed_action"].numpy(),  # pyright: ignore
                rewards=after["reward"].numpy(),  # pyright: ignore
                terminations=after["terminated"].numpy(),  # pyright: ignore
                truncations=after["truncated"].numpy(),  # pyright: ignore
                infos=infos,
            )
        )
    observation, action = buffer.steps["observation"], buffer.steps["executed_action"]
    if action.is_floating_point():
        acts: Any = spaces.Box(-1, 1, action.shape[1:], action.numpy().dtype.type)
    else:
        acts = spaces.Discrete(int(max(buffer.steps[key].max() for key in ("executed_action", "robot_action"))) + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Minari's, about an author, a link, an environment to be named
        create_dataset_from_buffers(
            dataset,
            made,
            observation_space=spaces.Box(-np.inf, np.inf, observation.shape[1:], observation.numpy().dtype.type),
            action_space=acts,
            description=f"Recorded by MILE in '{buffer.environment}': infos hold what robot and human did.",
        )


def read_minari(dataset: str, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a Minari dataset, `[steps]`; those of others become demonstrations.

    Args:
        dataset: id of a local one.
        only_known: where nothing tells which episodes succeeded, none counts; otherwise all do.

    Raises:
        FileNotFoundError: there is none.
        ValueError: its observations or actions are of a kind that we have not, or an episode is malformed.
    """
    from minari import load_dataset
    from minari.storage.datasets_root_dir import get_dataset_path

    # without its spaces Minari would make the environment that the data set names, which may be anything
    described = get_dataset_path(dataset) / "data" / "metadata.json"
    if described.exists() and not {"observation_space", "action_space"} <= read_json(described).keys():
        raise ValueError("a data set must name its observation_space and its action_space; it was not opened")
    held = load_dataset(dataset)
    if not isinstance(held.observation_space, spaces.Box):
        raise ValueError(f"observations must be vectors of numbers (Box), got {held.observation_space}")
    if not isinstance(held.action_space, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions must be numbers (Discrete) or vectors (Box), got {held.action_space}")
    told = any("success" in (episode.infos or {}) for episode in held.iterate_episodes())
    unknown = None if told else unknown_successes(dataset, only_known)

    for episode in held.iterate_episodes():
        with naming(f"episode {int(episode.id)}"):
            length, seen = len(episode.actions), np.asarray(episode.observations)
            infos = episode.infos or {}
            success = unknown(length) if unknown else infos.get("success", np.zeros(length))
            steps = assemble(
                all_own(infos),
                number=int(episode.id),
                observation=seen[:-1],
                action=episode.actions,
                after={
                    "observation": seen[1:],
                    "reward": episode.rewards,
                    "terminated": episode.terminations,
                    "truncated": episode.truncations,
                    "success": success[-length:],  # infos by Minari's own recorder begin with the reset's
                },
            )
        yield steps


def write_robomimic(buffer: InterventionBuffer, path: str | Path) -> None:
    """Write an HDF5 file as robomimic reads it, `action_modes` included: −1 demonstration, 0 robot, 1 intervention.

    Args:
        buffer: at least one episode.
        path: of the file.

    Raises:
        FileExistsError: there is such a file.
    """
    import h5py

    with h5py.File(path, "x") as file:
        data = file.create_group("data")
        for number, steps in enumerate(episodes(buffer)):
            after: Any = steps["next"]
            by_human = DEMO if steps["round"][0] == DEMONSTRATION else INTERVENTION
            modes = torch.where(steps["intervened"], by_human, ROBOT)
            action = steps["executed_action"]
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"] = len(steps)
            for key, value in {
                "actions": action if action.ndim > 1 else action.unsqueeze(-1),
                "action_modes": modes,
                "rewards": after["reward"],
                "dones": (after["terminated"] | after["truncated"]).long(),
                "obs/state": steps["observation"],
                "next_obs/state": after["observation"],
                **{f"mile/{key}": steps[key] for key in OWN},
                **{f"mile/{key}": after[key] for key in ("terminated", "truncated", "success")},
            }.items():
                demo.create_dataset(key, data=value.numpy())
        data.attrs["total"] = len(buffer)
        data.attrs["env_args"] = json.dumps({"env_name": buffer.environment, "type": 2, "env_kwargs": {}})  # 2: gym


def read_robomimic(path: str | Path, only_known: bool = False) -> Iterator[TensorDict]:
    """Yield the episodes of a robomimic file with low-dimensional observations, `[steps]`, in order.

    Of a file of others, all vectors in `obs` are joined, by name; steps without `action_modes` are demonstrations. Next
    observations that were left out follow from the observations, with the last one repeated.

    Args:
        path: of the file.
        only_known: where nothing tells which episodes succeeded, none counts; otherwise all do.

    Raises:
        OSError: there is no such file, or it is no HDF5.
        ValueError: it is not laid out as robomimic's are, or an episode is malformed.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _refuse_other_files(file)
        if not isinstance(file.get("data"), h5py.Group):
            raise ValueError("a group 'data' with the demonstrations is expected, as robomimic has it")
        data: Any = file["data"]
        if wrong := [name for name in data if not name.rpartition("_")[2].isdecimal()]:
            raise ValueError(f"the groups in 'data' must be named demo_0, demo_1 and so on, got '{wrong[0]}'")
        names = sorted(data, key=lambda name: int(name.rpartition("_")[2]))
        told = any("mile" in demo or ("rewards" in demo and (demo["rewards"][:] > 0).any()) for demo in data.values())
        unknown = None if told else unknown_successes(path, only_known)
        vectors: list[str] = []

        for number, name in enumerate(names):
            with naming(f"episode {number} ({name})"):
                demo = data[name]
                vectors = vectors or _vectors(path, demo["obs"])
                length, seen = len(demo["actions"]), _joined(demo["obs"], vectors)
                done = demo["dones"][:] if "dones" in demo else last(length)
                own = {key: value[:] for key, value in demo["mile"].items()} if "mile" in demo else {}
                if "action_modes" in demo and "intervened" not in own:
                    modes = demo["action_modes"][:]
                    own["intervened"] = modes != ROBOT
                    own["round"] = np.full(length, DEMONSTRATION if (modes == DEMO).all() else 0)
                steps = assemble(
                    {key: own[key] for key in OWN if key in own},
                    number=number,
                    observation=seen,
                    action=demo["actions"][:],
                    after={
                        "observation": _joined(demo["next_obs"], vectors) if "next_obs" in demo else shifted(seen),
                        "reward": demo["rewards"][:] if "rewards" in demo else np.zeros(length),
                        "terminated": own.get("terminated", done),
                        "truncated": own.get("truncated", np.zeros(length)),
                        "success": unknown(length) if unknown else own.get("success"),
                    },
                )
            yield steps


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
    """Return the names of what is a number or a vector in each step, and say what is not."""
    kept = [
        name
        for name, value in sorted(group.items())
        if getattr(value, "ndim", 0) in (1, 2) and value.dtype.kind in "biuf"
    ]
    if not kept:
        raise ValueError(f"vectors of numbers are expected in 'obs', got {', '.join(group) or 'nothing'}")
    left_out(path, set(group) - set(kept))
    return kept


def _joined(group: Any, names: list[str]) -> np.ndarray:
    values = [group[name][:] for name in names]
    return np.concatenate([value if value.ndim > 1 else value[:, None] for value in values], -1)
