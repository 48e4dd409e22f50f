"""Whole episodes from a TorchRL collector."""

import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.collectors import Collector
from torchrl.envs import EnvBase

from mile.envs import InterventionTransform, policy_kind
from mile.policies import Policy
from mile.transitions import TransitionError, check_transitions, no_action

BLOCK = 64  # time steps that are stored together


def collect_episodes(
    env: EnvBase,
    policy: Policy | Callable[[TensorDictBase], TensorDictBase],
    num_episodes: int | Iterable[int],
    *,
    seed: int | None = None,
    deterministic: bool = True,
    deployment_round: int = 0,
    on_episode: Callable[[TensorDict], None] | None = None,
) -> TensorDict:
    """Play whole episodes: the first ones started, so that short episodes are not preferred.

    Args:
        env: batched or not, with or without an `InterventionTransform`.
        policy: the robot's; or any callable that sets "action" in a TensorDict.
        num_episodes: how many; or, for an environment of `make_env`, the numbers of the episodes to play.
        seed: of the episodes; None: the environment's own. In an environment of `make_env`, episode i of a seed is the
            same however it is played.
        deterministic: the robot takes its most probable action; otherwise it samples.
        deployment_round: stored with each step.
        on_episode: is given each episode as soon as the step that ended it comes back from the collector (which has
            reset the copy by then), before any step of the next one.

    Returns:
        The steps as `mile.transitions` describes them, `[steps]`, ordered by episode.

    Raises:
        ValueError: fewer than 1 episode is asked for, or the policy's dimensions are not the environment's.
        TransitionError: an observation, action or reward is not finite.
    """
    wanted = list(range(num_episodes)) if isinstance(num_episodes, int) else list(num_episodes)
    if not wanted:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if len(set(wanted)) < len(wanted) or min(wanted) < 0:
        raise ValueError(f"the numbers of episodes must differ and be at least 0, got {wanted}")
    scheduled = hasattr(env, "schedule")
    if scheduled:
        env.schedule.start(env.schedule.seed if seed is None else seed, wanted)  # pyright: ignore
    elif seed is not None:
        env.set_seed(seed)
    robot = _robot(env, policy, deterministic) if isinstance(policy, Policy) else policy
    copies = env.batch_size.numel()
    collector = Collector(env, robot, frames_per_batch=copies, total_frames=-1, trust_policy=True)
    finished: dict[int, TensorDict] = {}
    blocks: list[Any] = []  # TensorDicts [BLOCK, copies]
    begin = [0] * copies
    try:
        for now, batch in enumerate(collector):
            step = batch.reshape(-1).set("timestamp", torch.full([copies], time.time(), dtype=torch.float64))
            if now % BLOCK == 0:
                blocks.append(torch.empty_like(step.expand(BLOCK, copies)))
            blocks[-1][now % BLOCK] = step
            for copy in step["next", "done"].flatten().nonzero().flatten().tolist():
                number = int(step["episode" if scheduled else ("collector", "traj_ids")][copy])
                first, begin[copy] = begin[copy], now + 1
                if number in wanted:
                    history: Any = torch.cat([block[:, copy] for block in blocks[first // BLOCK :]])
                    raw = history[first % BLOCK : first % BLOCK + now + 1 - first]
                    finished[number] = check_transitions(_transitions(raw, env, number, deployment_round))
                    if on_episode is not None:
                        on_episode(finished[number])
            if len(finished) == len(wanted):
                break
    finally:
        collector.shutdown(close_env=False)
    return torch.cat([finished[number] for number in wanted])  # pyright: ignore


def _robot(env: EnvBase, policy: Policy, deterministic: bool) -> Callable[[TensorDictBase], TensorDictBase]:
    """Deploy a copy in float64: rounding, which differs between batch sizes, must not make another episode."""
    kind, observation_dim, action_dim = policy_kind(env)
    architecture = policy.architecture
    if not isinstance(policy, kind) or (architecture["observation_dim"], architecture["action_dim"]) != (
        observation_dim,
        action_dim,
    ):
        raise ValueError(
            f"the environment needs a {kind.__name__} with observation_dim {observation_dim} and action_dim "
            f"{action_dim}, got a {type(policy).__name__} with {architecture['observation_dim']} and "
            f"{architecture['action_dim']}"
        )
    policy = deepcopy(policy).double().cpu()

    def act(step: TensorDictBase) -> TensorDictBase:
        observation = step["observation"]
        if not observation.isfinite().all():
            broken = observation[~observation.isfinite().all(-1)].reshape(-1, observation.shape[-1])[0]
            raise TransitionError(f"'observation' must be finite, got {broken.tolist()}")
        action = policy.act(observation.double(), step.get("robot_noise", None), deterministic)
        return step.set("action", action.to(observation.dtype) if action.is_floating_point() else action)

    return act


def _transitions(raw: Any, env: EnvBase, number: int, deployment_round: int) -> TensorDict:
    """Bring one episode's collected steps into the form that `mile.transitions` describes."""
    outcome, action = raw["next"], raw["action"]
    length = len(raw)
    steps = {
        "observation": raw["observation"],
        "robot_action": action,
        "next": {
            "observation": outcome["observation"],
            "success": outcome.get("success", torch.zeros(length, dtype=torch.bool)),
            **{key: outcome[key].squeeze(-1) for key in ("reward", "terminated", "truncated")},
        },
        "episode": torch.full([length], number),
        "round": torch.full([length], deployment_round),
        "step": torch.arange(length),
        "timestamp": raw["timestamp"],
    }
    if "intervened" in outcome.keys():  # an InterventionTransform wrote them beside the step's outcome
        steps |= {key: outcome[key] for key in InterventionTransform.WRITTEN}
    else:
        steps |= {
            "intervened": torch.zeros(length, dtype=torch.bool),
            "human_action": no_action(action),
            "executed_action": env.action_spec_unbatched.project(action),
            "intervention_prob": torch.zeros(length),
        }
    return TensorDict(steps, [length])
