"""Initial policies and experts, chosen from the checkpoints of a reinforcement-learning run (App. B)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from torchrl.envs import EnvBase

from mile.envs import ScheduledEnv
from mile.evaluation import evaluate_policy
from mile.policies import Policy, load_policy, save_policy


def pretrain(
    env: EnvBase,
    judge: ScheduledEnv,
    policy: Policy,
    algorithm: Callable[[EnvBase, Policy], Iterator[int]],
    *,
    folder: str | Path,
    deterministic: bool,
    stop_at: float | None,
    stop_after: int | None,
    num_episodes: int,
    seed: int,
) -> tuple[Policy, int]:
    """Train by reinforcement learning, keep every checkpoint, and choose one of them.

    Args:
        env: Batched environment for training.
        judge: Environment for evaluating checkpoints, another one.
        policy: Policy to train, in place.
        algorithm: Function that trains the policy and yields the number of environment steps so far at each checkpoint:
            `train_dqn` or `train_sac` with its options.
        folder: Folder of the checkpoints: each is `<steps>.safetensors`, with its evaluation in the JSON beside it.
        deterministic: Take the most probable actions when a checkpoint is evaluated; otherwise sample.
        stop_at: Take the first checkpoint whose metric (return or success rate) is at least this.
        stop_after: Take the first checkpoint after this number of environment steps, however good it is. If neither
            `stop_at` nor `stop_after` is given, train to the end and take the best.
        num_episodes: Number of episodes in which a checkpoint is evaluated.
        seed: Seed of those episodes.

    Returns:
        The policy, and the number of environment steps that it was trained for.

    Raises:
        ValueError: No checkpoint was reached, or none as good as `stop_at`.
    """
    best, chosen = -float("inf"), None
    for frames in algorithm(env, policy):
        # evaluate, and keep
        outcome = evaluate_policy(judge, policy, num_episodes, seed, deterministic)
        score = outcome.score(judge.metric)
        print(f"{frames:>9} steps: {judge.metric} {score:8.2f}", flush=True)
        save_policy(
            policy,
            Path(folder) / f"{frames}",
            environment=judge.name,
            training_steps=frames,
            evaluation=outcome.summary(),
        )

        # choose
        late_enough = stop_after is not None and frames >= stop_after
        good_enough = stop_at is not None and score >= stop_at
        stop = late_enough or good_enough
        if stop or (stop_at is None and score > best):
            best, chosen = score, frames
        if stop:
            break

    if chosen is None:
        message = "no checkpoint was chosen: total_frames must be at least frames_per_checkpoint"
        if stop_at is not None:
            message += f", and a checkpoint must reach a {judge.metric} of {stop_at}"
        raise ValueError(message)
    return load_policy(Path(folder) / f"{chosen}"), chosen
