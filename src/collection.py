"""Whole episodes from a TorchRL collector."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from mile.envs import InterventionTransform, policy_kind
from mile.envs.players import BLOCK, Batches, InProcess, Player, Robot, WorkerDiedError
from mile.humans import DiscardedError
from mile.policies import Policy
from mile.transitions import REPORTED, TransitionError, check_transitions, no_action


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
        on_episode: is given each episode when the step that ended it comes back from the collector, which has reset the
            copy by then: at once where there is one copy, otherwise with the block of steps it is in.

    Returns:
        The steps as `mile.transitions` describes them, `[steps]`, ordered by episode. What a person discards is played
        again.

    Raises:
        ValueError: fewer than 1 episode is asked for, or the policy's dimensions are not the environment's.
        TransitionError: an observation, action or reward is not finite.
    """
    wanted = list(range(num_episodes)) if isinstance(num_episodes, int) else list(num_episodes)
    if not wanted:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if len(set(wanted)) < len(wanted) or min(wanted) < 0:
        raise ValueError(f"the numbers of episodes must differ and be at least 0, got {wanted}")
    robot = _robot(env, policy, deterministic) if isinstance(policy, Policy) else policy
    finished: dict[int, TensorDict] = {}

    def play(player: Player) -> None:
        missing = [number for number in wanted if number not in finished]
        for number, raw in _whole_episodes(env, player.play(env, robot, seed, missing), missing):
            finished[number] = check_transitions(_transitions(raw, env, number, deployment_round))
            if on_episode is not None:
                on_episode(finished[number])

    player = getattr(env, "player", None) or InProcess()
    while len(finished) < len(wanted):
        try:
            play(player)
        except DiscardedError:
            continue
        except WorkerDiedError as died:
            warnings.warn(f"{died}; the episodes that are not finished are played in this process", stacklevel=2)
            player = InProcess()
    return torch.cat([finished[number] for number in wanted])  # pyright: ignore


def _whole_episodes(env: EnvBase, played: Batches, wanted: list[int]) -> Iterator[tuple[int, TensorDictBase]]:
    """Yield the numbers and collected steps `[steps]` of the wanted episodes, as they end."""
    left = set(wanted)
    number_of = "episode" if hasattr(env, "schedule") else ("collector", "traj_ids")
    blocks: list[Any] = []  # TensorDicts [copies, BLOCK]
    begin: defaultdict[int, int] = defaultdict(int)
    now = 0
    with closing(played) as batches:
        for batch in batches:
            copies, length = batch.shape
            at = now % BLOCK
            if at == 0:
                blocks.append(torch.empty_like(batch[:, :1].expand(copies, BLOCK)))
            blocks[-1][:, at : at + length] = batch
            for step, copy in batch["next", "done"].reshape(copies, length).T.nonzero().tolist():
                number, end = int(batch[number_of][copy, step]), now + step + 1
                first, begin[copy] = begin[copy], end
                if number in left:
                    left.remove(number)
                    history: Any = torch.cat([block[copy] for block in blocks[first // BLOCK :]])
                    yield number, history[first % BLOCK : first % BLOCK + end - first]
            now += length
            if not left:
                return


def _robot(env: EnvBase, policy: Policy, deterministic: bool) -> Robot:
    """Deploy a copy in float64: rounding, which differs between batch sizes, must not make another episode."""
    kind, observation_dim, action_dim = policy_kind(env, policy.sees)
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
    return partial(_act, deepcopy(policy).cpu().double(), deterministic)  # MPS has no float64


def _act(policy: Policy, deterministic: bool, step: TensorDictBase) -> TensorDictBase:
    observation = step[policy.sees]
    if not observation.isfinite().all():
        broken = observation[~observation.isfinite().all(-1)].reshape(-1, observation.shape[-1])[0]
        raise TransitionError(f"'{policy.sees}' must be finite, got {broken.tolist()}")
    action = policy.act(observation.double(), step.get("robot_noise", None), deterministic)
    return step.set("action", action.to(observation.dtype) if action.is_floating_point() else action)


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
    for key in REPORTED.keys() & raw.keys():
        steps[key], steps["next"][key] = raw[key], outcome[key]
    if "intervened" in outcome.keys():  # an InterventionTransform wrote them beside the step's outcome
        steps |= {key: outcome[key] for key in InterventionTransform.WRITTEN}
    else:
        steps |= {
            "intervened": torch.zeros(length, dtype=torch.bool),
            "human_action": no_action(action),
            "executed_action": outcome.get("executed_action", env.action_spec_unbatched.project(action)),
            "intervention_prob": torch.zeros(length),
        }
    return TensorDict(steps, [length])
