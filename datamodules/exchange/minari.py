"""Recordings as Minari's datasets.

They hold every entry of `mile.transitions` except those that few environments report (state, frame). These stay in the
recording; nothing else is lost on the way there and back.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.exchange.foreign import OWN, assemble, naming, own_entries, unknown_successes
from mile.datamodules.exchange.labels import USUAL, Labels
from mile.envs.observations import BRIGHTEST
from mile.files import read_json
from mile.transitions import VECTOR, observed


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
    names: tuple[str, ...] = ()
    for number, episode in enumerate(sorted(buffer.episodes)):
        steps = buffer.read(episode)
        after: Any = steps["next"]

        # one observation more than there are steps
        names = observed(steps)
        parts = {name: torch.cat([steps[name], after[name][-1:]]).numpy() for name in names}
        observations: Any = parts if names != VECTOR else parts["observation"]

        infos = {key: steps[key].numpy() for key in OWN if key in steps.keys()}
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
    action = buffer.steps["executed_action"]
    by_name: dict[str, spaces.Space] = {name: _space(*buffer.entries[name]) for name in names}
    observation_space: Any = by_name["observation"] if names == VECTOR else spaces.Dict(by_name)
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
            jpeg_encoding=False,  # nothing is lost
            description=f"Recorded by MILE in '{buffer.environment}': infos hold what robot and human did.",
        )


def _space(dtype: str, shape: list[int]) -> spaces.Box:
    """Return the space of an entry of this NumPy type and shape."""
    if dtype == "|u1":
        return spaces.Box(0, BRIGHTEST, shape, np.uint8)
    return spaces.Box(-np.inf, np.inf, shape, np.dtype(dtype).type)


def read_minari(dataset: str, only_known: bool = False, labels: Labels = USUAL) -> Iterator[TensorDict]:
    """Yield the episodes of a Minari dataset, `[steps]`; where no info says who acted, as demonstrations.

    Args:
        dataset: Id of a dataset on this machine.
        only_known: Where nothing tells which episodes succeeded, count none as successful; otherwise all count.
        labels: Where the infos say who acted.

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

    # its spaces
    minari_dataset = load_dataset(dataset)
    space: Any = minari_dataset.observation_space
    parts = [*space.spaces.values()] if isinstance(space, spaces.Dict) else [space]
    if not all(isinstance(part, spaces.Box) for part in parts):
        raise ValueError(f"observations must be vectors of numbers (Box) or pictures, by name, got {space}")
    if not isinstance(minari_dataset.action_space, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions must be numbers (Discrete) or vectors (Box), got {minari_dataset.action_space}")

    # does it tell which episodes succeeded?
    has_success = any("success" in (episode.infos or {}) for episode in minari_dataset.iterate_episodes())
    assumed_success = None if has_success else unknown_successes(dataset, only_known)

    for episode in minari_dataset.iterate_episodes():
        with naming(f"episode {int(episode.id)}"):
            length = len(episode.actions)
            observations, followers = _observed(episode.observations)
            infos = episode.infos or {}
            success = assumed_success(length) if assumed_success else infos.get("success", np.zeros(length))
            steps = assemble(
                own_entries(infos, labels, length),
                number=int(episode.id),
                observed=observations,
                followers=followers,
                action=episode.actions,
                after={
                    "reward": episode.rewards,
                    "terminated": episode.terminations,
                    "truncated": episode.truncations,
                    "success": success[-length:],  # infos by Minari's own recorder begin with the reset's
                },
            )
        yield steps


def _observed(observations: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what is observed in each step of an episode, by name, and what follows."""
    by_name = observations if isinstance(observations, dict) else {"observation": observations}
    before, after = {}, {}
    for name, value in by_name.items():
        values = np.asarray(value)
        before[name], after[name] = values[:-1], values[1:]
    return before, after
