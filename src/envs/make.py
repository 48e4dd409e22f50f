"""Environments by name."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from torchrl.data import Categorical
from torchrl.envs import EnvBase, GymWrapper

from mile.envs.embedded import Embedding, embedded
from mile.envs.episodes import PARKED, EpisodeSchedule, ScheduledEpisodes
from mile.envs.metaworld import MetaWorld
from mile.policies import (
    CategoricalPolicy,
    ChunkPolicy,
    FlowMatchingPolicy,
    FlowPolicy,
    GaussianPolicy,
    MixturePolicy,
    Policy,
)
from mile.transitions import VECTOR


class ScheduledEnv(GymWrapper):
    """A batch of copies of one Gymnasium environment that plays a schedule of episodes; made by `make_env`.

    Attributes:
        name: Name by which `make_env` made it.
        recipe: Function that makes an environment like this one, for use in another process.
        player: One of `mile.envs.players`, which plays the episodes; None: this process plays them.
    """

    name: str
    recipe: partial["ScheduledEnv"]
    player: Any = None

    @property
    def schedule(self) -> EpisodeSchedule:
        """Schedule that all copies share."""
        return self._env.envs[0].schedule

    @property
    def observed(self) -> tuple[str, ...]:
        """Entries of a step that the simulator shows to a robot: "observation", or others by name."""
        return tuple(self._env.envs[0].observed.spaces)

    @property
    def metric(self) -> Literal["success", "return"]:
        """Metric that a policy is judged by here (Sec. V): success in manipulation tasks, the return elsewhere."""
        return getattr(self.simulator, "metric", "return")

    @property
    def simulator(self) -> gym.Env:
        """Simulator of the first copy, without wrappers."""
        return self._env.envs[0].unwrapped

    @property
    def max_episode_steps(self) -> int | None:
        """Number of steps after which an episode is truncated; None: the simulator does not say."""
        spec = self._env.envs[0].spec
        by_gymnasium = None if spec is None else spec.max_episode_steps
        return getattr(self.simulator, "max_episode_steps", by_gymnasium)

    @property
    def control_period(self) -> float:
        """Time between two steps in the simulated world, s; NaN: the simulator does not say."""
        return 1 / self.simulator.metadata.get("render_fps", math.nan)

    def render(self, copy: int = 0) -> NDArray[np.uint8]:
        """Return a picture of one copy, `[height, width, 3]`; needs `render_mode="rgb_array"`."""
        return self._env.envs[copy].render()

    def plays(self, copy: int) -> bool:
        """Return whether a copy has an episode to play."""
        return self._env.envs[copy].episode != PARKED

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Close the copies, and end the worker processes that play for them."""
        if self.player is not None:
            self.player.close()
        super().close(raise_if_closed=raise_if_closed)

    def _set_seed(self, seed: int | None) -> None:
        self.schedule.start(0 if seed is None else seed)


ENVIRONMENTS: dict[str, Callable[..., gym.Env]] = {
    "lunarlander": partial(gym.make, "LunarLander-v3", disable_env_checker=True),
    "button_press": partial(MetaWorld, "button-press-v3"),
    "drawer_open": partial(MetaWorld, "drawer-open-v3"),
    "peg_insert": partial(MetaWorld, "peg-insert-side-v3"),
    "car_racing": partial(gym.make, "mile.envs.driving:Driving-v0", disable_env_checker=True),
    "two_ways": partial(gym.make, "mile.envs.two_ways:TwoWays-v0", disable_env_checker=True),
    "widowx_peg": partial(gym.make, "mile.hardware.robot_env:WidowXPeg-v0", disable_env_checker=True),
}


def make_env(
    name: str,
    num_envs: int = 1,
    seed: int = 0,
    collector: Any = None,
    stack: int = 1,
    embed: Callable[[], Embedding] | None = None,
    **options: Any,
) -> ScheduledEnv:
    """Make a batched environment.

    Args:
        name: "lunarlander", "button_press", "drawer_open", "peg_insert", "car_racing", "two_ways", "widowx_peg", any
            other task of Meta-World ("door-open-v3"), or any Gymnasium id whose observations have a fixed size.
        num_envs: Number of copies that step together.
        seed: Seed of the episodes; episode i of a seed is the same for every num_envs.
        collector: One of `mile.envs.players`, which plays the episodes; None: this process plays them.
        stack: Number of newest pictures that an observation holds, where it has any.
        embed: Function that makes a frozen network, whose vectors are shown in the place of pictures, such as
            `mile.policies.vision.FrozenVision`; None: pictures stay pictures.
        options: Arguments of the simulator's constructor, such as `render_mode="rgb_array"`.

    Returns:
        A TorchRL environment of batch size `[num_envs]`.

    Raises:
        ValueError: The name is unknown, or num_envs is below 1.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, got {num_envs}")
    make_simulator, schedule = simulator(name), EpisodeSchedule(seed)
    if embed is not None:
        make_simulator = embedded(make_simulator, embed)

    def make_copy() -> gym.Env:
        return ScheduledEpisodes(make_simulator(**options), schedule, stack)

    vector = SyncVectorEnv([make_copy] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
    env = ScheduledEnv(vector, categorical_action_encoding=True)
    env.name = name
    env.player = collector
    env.recipe = partial(make_env, name, num_envs, seed, stack=stack, embed=embed, **options)
    return env


def schedule_of(env: EnvBase) -> EpisodeSchedule | None:
    """Return the schedule of an environment of `make_env`, transformed or not; None for any other environment."""
    return getattr(env, "schedule", None)


def simulator(name: str) -> Callable[..., gym.Env]:
    """Return the function that makes the simulator of this name.

    Raises:
        ValueError: The name is unknown.
    """
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]
    if name in gym.registry:
        return partial(gym.make, name, disable_env_checker=True)
    if name.endswith("-v3"):
        return partial(MetaWorld, task=name)
    raise ValueError(
        f"unknown environment '{name}'; expected {', '.join(ENVIRONMENTS)}, a task of Meta-World such as "
        "'door-open-v3', or a Gymnasium id"
    )


def environment_spaces(name: str) -> tuple[gym.Space, gym.Space]:
    """Return the observation and the action space of an environment, without playing it.

    Args:
        name: Name of the environment; see `make_env`.

    Raises:
        ValueError: The name is unknown.
    """
    # a desk is not connected before its first reset
    options = {"bench": object} if name == "widowx_peg" else {}
    with closing(simulator(name)(**options)) as env:
        return env.observation_space, env.action_space


HEADS: dict[str, type[Policy]] = {
    "gaussian": GaussianPolicy,
    "mixture": MixturePolicy,
    "flow": FlowPolicy,
    "flow_matching": FlowMatchingPolicy,
}


def make_policy(
    env: EnvBase,
    in_keys: Sequence[str] | None = None,
    encoder: Mapping[str, Any] | None = None,
    head: Literal["gaussian", "mixture", "flow", "flow_matching"] = "gaussian",
    chunk: int | None = None,
    execute: int | None = None,
    **options: Any,
) -> Policy:
    """Make a policy with random weights that fits an environment's observations and actions.

    Args:
        env: Environment; a `CategoricalPolicy` fits discrete actions, a `GaussianPolicy` continuous ones.
        in_keys: Entries of a step that the policy acts on; None: all that the environment shows.
        encoder: Further arguments of the `PictureEncoder` of each picture.
        head: Kind of a policy over continuous actions: "gaussian", "mixture" for a `MixturePolicy`, "flow" for a
            `FlowPolicy`, or "flow_matching" for a `FlowMatchingPolicy`, which has no density.
        chunk: Number of actions that a `ChunkPolicy` decides on at once; None: a policy over single actions.
        execute: Number of them that are executed; None: all.
        options: Further arguments of the policy; `hidden_dims` are Table I's by default.

    Raises:
        ValueError: The environment's steps have no such entry, or the head is unknown or for other actions.
    """
    kind, shape = policy_kind(env, in_keys)
    if head != "gaussian":
        check_head(env, head)
        kind = HEADS[head]
    for encoding in shape.get("pictures", {}).values():
        encoding.update(encoder or {})
    policy = kind(**shape, **options)
    policy.in_keys = observed_by(env) if in_keys is None else tuple(in_keys)
    return policy if chunk is None else in_chunks(env, policy, chunk, execute)


def in_chunks(env: EnvBase, policy: Policy, chunk: int, execute: int | None) -> ChunkPolicy:
    """Return a policy over chunks with the head of one over single actions; see `ChunkPolicy.like`.

    Args:
        env: Environment.
        policy: Policy over single actions.
        chunk: Number of actions that are decided on at once.
        execute: Number of them that are executed; None: all.

    Raises:
        ValueError: The chunk is longer than an episode, or no such policy can be.
    """
    longest = getattr(env, "max_episode_steps", None)
    if longest is not None and chunk > longest:
        raise ValueError(f"a chunk of {chunk} actions is longer than an episode of at most {longest}; choose fewer")
    return ChunkPolicy.like(policy, chunk, chunk if execute is None else execute)


def check_head(env: EnvBase, head: str) -> None:
    """Raise ValueError unless there is such a head, and the environment's actions are continuous."""
    if head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got '{head}'")
    if isinstance(env.action_spec, Categorical):
        raise ValueError(
            f"head={head} is for continuous actions, and those of '{getattr(env, 'name', env)}' are discrete"
        )


def observed_by(env: EnvBase) -> tuple[str, ...]:
    """Return the entries of a step that a robot observes in an environment, transformed or not."""
    return getattr(env, "observed", VECTOR)


def policy_kind(
    env: EnvBase, in_keys: Sequence[str] | None = None
) -> tuple[type[CategoricalPolicy] | type[GaussianPolicy], dict[str, Any]]:
    """Return the class of policy that fits an environment, and its observation_dim, action_dim and pictures.

    Args:
        env: Environment.
        in_keys: Entries of a step that the policy acts on; None: all that the environment shows.

    Raises:
        ValueError: The environment's steps have no such entry.
    """
    # what is observed
    observation_dim, pictures = 0, {}
    for name in observed_by(env) if in_keys is None else in_keys:
        if name not in env.observation_spec.keys():
            place, present = getattr(env, "name", env), ", ".join(observed_by(env))
            raise ValueError(f"a policy that acts on '{name}' does not fit '{place}', which shows {present}")
        entry = env.observation_spec[name]
        if entry.dtype == torch.uint8:
            pictures[name] = {"shape": list(entry.shape[-4:])}
        else:
            observation_dim += entry.shape[-1]

    # what is done
    action = env.action_spec
    shape: dict[str, Any] = {"observation_dim": observation_dim}
    if pictures:
        shape["pictures"] = pictures
    if isinstance(action, Categorical):
        return CategoricalPolicy, {**shape, "action_dim": int(action.n)}
    return GaussianPolicy, {**shape, "action_dim": action.shape[-1]}
