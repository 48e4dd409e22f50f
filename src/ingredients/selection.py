"""One reinforcement-learning run yields beginners and experts of many levels (App. B)."""

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
        env: batched environment, for training.
        judge: another one, for evaluating checkpoints.
        policy: what is trained, in place.
        algorithm: `train_dqn` or `train_sac` with its options; yields the environment steps made.
        folder: gets each checkpoint as `<steps>.safetensors`, its evaluation in the JSON beside it.
        deterministic: how a checkpoint acts when it is evaluated.
        stop_at: take the first checkpoint with at least this return, or success rate where tasks are rated by it.
        stop_after: take the first checkpoint after so many environment steps, whatever it is worth. If neither is
            given, train to the end and take the best.
        num_episodes: episodes by which a checkpoint is judged.
        seed: of those episodes.

    Returns:
        The policy, and the environment steps it took.

    Raises:
        ValueError: no checkpoint was reached, or none as good as stop_at.
    """
    best, chosen = -float("inf"), None
    for frames in algorithm(env, policy):
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
        stop = (stop_after is not None and frames >= stop_after) or (stop_at is not None and score >= stop_at)
        if stop or (stop_at is None and score > best):
            best, chosen = score, frames
        if stop:
            break
    if chosen is None:
        raise ValueError(
            "no checkpoint was chosen: total_frames must be at least frames_per_checkpoint"
            + ("" if stop_at is None else f", and a checkpoint must reach a {judge.metric} of {stop_at}")
        )
    return load_policy(Path(folder) / f"{chosen}"), chosen
