"""Whole episodes from a TorchRL collector."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import EnvBase

from mile.envs import InterventionTransform, observed_by, policy_kind, schedule_of
from mile.envs.players import BLOCK_LENGTH, Batches, InProcess, Player, RobotPolicy, WorkerDiedError, player_of
from mile.humans import DiscardedError
from mile.policies import ChunkPolicy, Policy
from mile.policies.queue import ActionQueue
from mile.transitions import OF_CHUNKS, OF_CORRECTIONS, REPORTED, TransitionError, check_transitions, no_action


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
    """Play the first `num_episodes` episodes to their end.

    (Keeping the first to finish would favour short ones.)

    Args:
        env: Environment, batched or not, with or without an `InterventionTransform`.
        policy: Policy of the robot; or any callable that sets "action" in a TensorDict.
        num_episodes: Number of episodes; or, for an environment of `make_env`, the numbers of the episodes to play.
        seed: Seed of the episodes; None: the environment's own. In an environment of `make_env`, episode i of a seed
            is the same however it is played.
        deterministic: Let the robot take its most probable action; otherwise it samples.
        deployment_round: Round number that is stored with each step.
        on_episode: Callback that receives each episode: where one copy of an environment of `make_env` plays in this
            process, before it is reset for the next one, otherwise with the block of steps that the last one is in.

    Returns:
        The steps as `mile.transitions` describes them, `[steps]`, ordered by episode. An episode that a person
        discards is played again.

    Raises:
        ValueError: Fewer than 1 episode is asked for, or the policy's dimensions are not the environment's.
        TransitionError: An observation, action or reward is not finite.
    """
    # which episodes
    wanted = list(range(num_episodes)) if isinstance(num_episodes, int) else list(num_episodes)
    if not wanted:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if len(set(wanted)) < len(wanted) or min(wanted) < 0:
        raise ValueError(f"the numbers of episodes must differ and be at least 0, got {wanted}")

    robot = _deploy(env, policy, deterministic) if isinstance(policy, Policy) else policy
    in_chunks = isinstance(policy, ChunkPolicy)
    finished: dict[int, TensorDict] = {}

    def play(player: Player) -> None:
        missing = [number for number in wanted if number not in finished]
        for number, collected in _whole_episodes(env, player.play(env, robot, seed, missing), missing):
            episode = check_transitions(_transitions(collected, env, number, deployment_round, in_chunks))
            finished[number] = episode
            if on_episode is not None:
                on_episode(episode)

    # play until none is missing
    player = player_of(env)
    while len(finished) < len(wanted):
        try:
            play(player)
        except DiscardedError:
            continue
        except WorkerDiedError as error:
            warnings.warn(f"{error}; the episodes that are not finished are played in this process", stacklevel=2)
            player = InProcess()
    return torch.cat([finished[number] for number in wanted])  # pyright: ignore


class StepHistory:
    """Keeps the collected time steps of all copies in blocks, and cuts episodes out of them.

    A block holds `BLOCK_LENGTH` steps of each copy. Steps that come one by one are written into a block that is there
    already, because a TensorDict for each step would take many times as long to join.

    Attributes:
        length: Number of time steps of each copy so far.
    """

    def __init__(self) -> None:
        self.length = 0
        self._blocks: list[Any] = []  # TensorDicts [copies, BLOCK_LENGTH]

    def append(self, batch: TensorDictBase) -> None:
        """Append `[copies, steps]`: a whole block, or one step."""
        copies, steps = batch.shape
        start = self.length % BLOCK_LENGTH
        if start == 0:
            self._blocks.append(torch.empty_like(batch[:, :1].expand(copies, BLOCK_LENGTH)))
        self._blocks[-1][:, start : start + steps] = batch
        self.length += steps

    def cut(self, copy: int, start: int, stop: int) -> TensorDictBase:
        """Return steps `start` to `stop` − 1 of one copy, `[stop − start]`."""
        first_block, offset = divmod(start, BLOCK_LENGTH)
        steps: Any = torch.cat([block[copy] for block in self._blocks[first_block:]])
        return steps[offset : offset + stop - start]


def _whole_episodes(env: EnvBase, collected: Batches, wanted: list[int]) -> Iterator[tuple[int, TensorDictBase]]:
    """Yield the numbers and collected steps `[steps]` of the wanted episodes, as they end."""
    number_key = ("collector", "traj_ids") if schedule_of(env) is None else "episode"
    missing = set(wanted)
    history = StepHistory()
    starts: defaultdict[int, int] = defaultdict(int)  # by copy: the first step of its present episode

    with closing(collected) as batches:
        for batch in batches:
            before = history.length
            history.append(_newest_pictures(batch))

            # cut the episodes that end in this batch, in the order of their last steps
            for step, copy in batch["next", "done"].reshape(batch.shape).T.nonzero().tolist():
                number = int(batch[number_key][copy, step])
                start, stop = starts[copy], before + step + 1
                starts[copy] = stop
                if number in missing:
                    missing.remove(number)
                    yield number, history.cut(copy, start, stop)
            if not missing:
                return


def _newest_pictures(batch: TensorDictBase) -> TensorDictBase:
    """Return collected steps `[copies, steps]` with the newest picture of each stack alone."""
    batch = batch.copy()
    for key, value in list(batch.items(True, True)):
        if value.dtype == torch.uint8 and value.ndim == 6:  # [copies, steps, stack, height, width, channels]
            batch[key] = value[:, :, -1]
    return batch


def _deploy(env: EnvBase, policy: Policy, deterministic: bool) -> RobotPolicy:
    """Return a copy in float64 that acts: rounding, which differs between batch sizes, must not make another episode.

    Raises:
        ValueError: The policy does not fit the environment.
    """
    kind, shape = policy_kind(env, policy.in_keys)
    own: dict[str, Any] = {name: policy.architecture.get(name) for name in shape}
    if "pictures" in shape:
        pictures = policy.architecture.get("pictures", {})
        own["pictures"] = {name: {"shape": list(encoding["shape"])} for name, encoding in pictures.items()}
    if policy.is_discrete != kind.is_discrete or own != shape:
        raise ValueError(
            f"the environment needs a {kind.__name__} with {_words(shape)}, got a {type(policy).__name__} with "
            f"{_words(own)}"
        )
    return _Robot(deepcopy(policy).cpu().double(), deterministic, env.action_spec.dtype)  # MPS has no float64


def _words(shape: dict[str, Any]) -> str:
    """Return the shape of a policy in words."""
    return " and ".join(f"{name} {value}" for name, value in shape.items())


class _Robot:
    """A robot that acts by a policy in an environment whose actions are of some type."""

    def __init__(self, policy: Policy, deterministic: bool, dtype: torch.dtype) -> None:
        self.policy = policy
        self.deterministic = deterministic
        self.dtype = dtype
        self.queue: ActionQueue | None = None
        self.begin()

    def begin(self) -> None:
        """Forget what was decided: a collector asks a robot once before the first step."""
        if isinstance(self.policy, ChunkPolicy):
            self.queue = ActionQueue(self.policy, self.deterministic)

    def __call__(self, step: TensorDictBase) -> TensorDictBase:
        """Set "action" in a step `[copies]`, and "remaining" where it comes from a queue."""
        policy = self.policy
        for name in policy.in_keys:
            value = step[name]
            if value.is_floating_point() and not value.isfinite().all():
                broken = value[~value.isfinite().all(-1)].reshape(-1, value.shape[-1])[0]
                raise TransitionError(f"'{name}' must be finite, got {broken.tolist()}")

        if self.queue is not None:
            action, remaining = self.queue(step)
            step.set("remaining", remaining)
        else:
            noise = step.get("robot_noise", None)
            action = policy.act(*policy.inputs(step), noise=noise, deterministic=self.deterministic)
        return step.set("action", action.to(self.dtype))


def _transitions(collected: Any, env: EnvBase, number: int, deployment_round: int, in_chunks: bool) -> TensorDict:
    """Bring one episode's collected steps into the form that `mile.transitions` describes."""
    outcome, action = collected["next"], collected["action"]
    length = len(collected)

    # what every environment and the collector know
    steps = {
        "robot_action": action,
        "next": {
            "success": outcome.get("success", torch.zeros(length, dtype=torch.bool)),
            "reward": outcome["reward"].squeeze(-1),
            "terminated": outcome["terminated"].squeeze(-1),
            "truncated": outcome["truncated"].squeeze(-1),
        },
        "episode": torch.full([length], number),
        "round": torch.full([length], deployment_round),
        "step": torch.arange(length),
        "timestamp": collected["timestamp"],
    }

    # what only some robots have
    if in_chunks:
        steps |= {key: collected[key] for key in OF_CHUNKS}

    # what is observed, and what only some simulators report
    for key in (*observed_by(env), *(REPORTED.keys() & collected.keys())):
        steps[key], steps["next"][key] = collected[key], outcome[key]

    # what the human did
    if "intervened" in outcome.keys():  # an InterventionTransform wrote this beside the step's outcome
        for key in (*InterventionTransform.WRITTEN, *(OF_CORRECTIONS.keys() & outcome.keys())):
            steps[key] = outcome[key]
    else:
        steps["intervened"] = torch.zeros(length, dtype=torch.bool)
        steps["human_action"] = no_action(action)
        steps["executed_action"] = outcome.get("executed_action", env.action_spec_unbatched.project(action))
        steps["intervention_prob"] = torch.zeros(length)
        steps["attended"] = steps["asked"] = torch.zeros(length, dtype=torch.bool)
    return TensorDict(steps, [length])
