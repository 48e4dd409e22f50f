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
from mile.transitions import DEMONSTRATION, NO_ACTION

OWN = ("robot_action", "human_action", "intervened", "intervention_prob", "round", "episode", "step", "timestamp")
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
    from minari import create_dataset_from_buffers  # noqa: PLC0415
    from minari.data_collector.episode_buffer import EpisodeBuffer  # noqa: PLC0415

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


def read_minari(dataset: str) -> Iterator[TensorDict]:
    """Yield the episodes of a Minari dataset, `[steps]`; those of others become demonstrations.

    Args:
        dataset: id of a local one.

    Raises:
        FileNotFoundError: there is none.
    """
    from minari import load_dataset  # noqa: PLC0415

    for it in load_dataset(dataset).iterate_episodes():
        infos = it.infos or {}
        whole = np.asarray(it.observations)
        success = infos.get("success", np.zeros(len(it.actions), bool))
        yield assemble(
            {key: infos[key] for key in OWN if key in infos},
            number=int(it.id),
            observation=whole[:-1],
            executed_action=it.actions,
            after={
                "observation": whole[1:],
                "reward": it.rewards,
                "terminated": it.terminations,
                "truncated": it.truncations,
                "success": success[: len(it.actions)],
            },
        )


def write_robomimic(buffer: InterventionBuffer, path: str | Path) -> None:
    """Write an HDF5 file as robomimic reads it, `action_modes` included: −1 demonstration, 0 robot, 1 intervention.

    Args:
        buffer: at least one episode.
        path: of the file.

    Raises:
        FileExistsError: there is such a file.
    """
    import h5py  # noqa: PLC0415

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


def read_robomimic(path: str | Path) -> Iterator[TensorDict]:
    """Yield the episodes of a robomimic file with low-dimensional observations, `[steps]`, in order.

    Of a file of others, all of `obs` are joined, by name; steps without `action_modes` are demonstrations.

    Args:
        path: of the file.
    """
    import h5py  # noqa: PLC0415

    with h5py.File(path, "r") as file:
        data: Any = file["data"]
        for number, name in enumerate(sorted(data, key=lambda it: int(it.split("_")[-1]))):
            demo = data[name]
            seen, following = (
                np.concatenate([demo[part][key][:] for key in sorted(demo[part])], -1) for part in ("obs", "next_obs")
            )
            own = {key: value[:] for key, value in demo["mile"].items()} if "mile" in demo else {}
            actions, done = demo["actions"][:], demo["dones"][:].astype(bool)
            if "action_modes" in demo and "intervened" not in own:
                own["intervened"] = demo["action_modes"][:] != ROBOT
                own["round"] = np.full(len(actions), DEMONSTRATION if (demo["action_modes"][:] == DEMO).all() else 0)
            yield assemble(
                {key: own[key] for key in OWN if key in own},
                number=number,
                observation=seen,
                executed_action=actions[:, 0] if np.issubdtype(actions.dtype, np.integer) else actions,
                after={
                    "observation": following,
                    "reward": demo["rewards"][:],
                    "terminated": own.get("terminated", done),
                    "truncated": own.get("truncated", np.zeros_like(done)),
                    "success": own.get("success", done & (demo["rewards"][:] > 0)),
                },
            )


def assemble(
    own: dict[str, Any], *, number: int, observation: Any, executed_action: Any, after: dict[str, Any]
) -> TensorDict:
    """Return one episode `[steps]`; what it lacks is that of a demonstration."""
    action, length = torch.as_tensor(np.asarray(executed_action)), len(executed_action)
    intervened = torch.as_tensor(own.get("intervened", np.ones(length, bool)))
    nothing = torch.full_like(action, torch.nan if action.is_floating_point() else NO_ACTION)
    by_human = intervened if action.ndim == 1 else intervened.unsqueeze(-1)
    steps = {
        "robot_action": action.clone(),
        "human_action": torch.where(by_human, action, nothing),
        "intervened": intervened,
        "intervention_prob": torch.full([length], torch.nan),
        "round": torch.full([length], DEMONSTRATION),
        "episode": torch.full([length], number),
        "step": torch.arange(length),
        "timestamp": torch.zeros(length, dtype=torch.float64),
        **{key: torch.as_tensor(np.asarray(value)) for key, value in own.items()},
        "observation": torch.as_tensor(np.asarray(observation)),
        "executed_action": action,
        "next": {key: torch.as_tensor(np.asarray(value)) for key, value in after.items()},
    }
    return TensorDict(steps, [length])
