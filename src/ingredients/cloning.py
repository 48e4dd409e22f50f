"""Behaviour cloning: a policy from observations and actions (App. B and C)."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.envs import make_policy
from mile.evaluation import Evaluation
from mile.humans import SimulatedHuman
from mile.policies import CategoricalPolicy, ChunkPolicy, Policy
from mile.transitions import next_actions

AT_A_TIME = 4096  # rows, where no gradient is needed


def clone_policy(
    policy: Policy,
    observed: TensorDictBase,
    actions: Tensor,
    *,
    steps: int,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    seed: int = 0,
    normalize: bool = True,
    rows: Tensor | None = None,
) -> float:
    """Fit a policy to actions by maximum likelihood; in place.

    Args:
        policy: Policy to train, in place.
        observed: Recorded steps `[steps]` with the entries that the policy acts on; of whole episodes, if there are
            pictures or the policy decides on chunks.
        actions: Actions to imitate, `[steps]` (int64) or `[steps, action_dim]`.
        steps: Number of gradient steps of Adam.
        learning_rate: Learning rate at the start; it falls to a tenth by a cosine.
        batch_size: Number of rows in a batch, drawn with replacement.
        seed: Seed of the random draws.
        normalize: Fit the observation normalisation, too; false: a policy that has learnt before keeps its own.
        rows: Rows that are learnt from; None: all.

    Returns:
        Mean NLL over these rows at the end, nats.
    """
    rows = torch.arange(len(observed)) if rows is None else rows
    if isinstance(policy, ChunkPolicy):
        actions = next_actions(actions, observed, torch.arange(len(observed)), policy.chunk)

    # optimiser
    if normalize:
        vectors: Any = observed.select(*[name for name in policy.in_keys if name not in policy.pictures])
        policy.fit_normalizer(vectors[rows])
    optimizer = torch.optim.Adam(policy.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, learning_rate / 10)

    # train
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (batch_size,), generator=generator)]
        loss = -policy(*policy.inputs_at(observed, batch)).log_prob(actions[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    with torch.no_grad():
        parts = [policy(*policy.inputs_at(observed, part)).log_prob(actions[part]) for part in rows.split(AT_A_TIME)]
        return float(-torch.cat(parts).mean())


def clone_rollouts(
    env: EnvBase,
    robot: Policy,
    student: Policy,
    *,
    num_episodes: int,
    steps: int,
    seed: int,
    shared_encoder: bool = False,
) -> tuple[Policy, int]:
    """Clone rollouts of a robot: the mental model of a person who watched the robot for some episodes.

    Args:
        env: Environment without an `InterventionTransform`.
        robot: Policy of the robot, which takes its most probable actions.
        student: Policy that becomes the mental model, in place.
        num_episodes: Number of rollouts: 100 for the simulated human (App. B), 3 for the learner (App. C).
        steps: Number of gradient steps.
        seed: Seed of the episodes and of the batches.
        shared_encoder: See pictures as the robot does: its encoders are copied, and are not trained.

    Returns:
        The student, and its number of gradient steps.

    Raises:
        ValueError: The encoders are to be shared, and are of other sizes.
    """
    if shared_encoder:
        student.share_encoders(deepcopy(robot))
        student.encoders.requires_grad_(False)
    rollouts = collect_episodes(env, robot, num_episodes, seed=seed)
    clone_policy(student, rollouts, rollouts["robot_action"], steps=steps, seed=seed)
    return student, steps


def squashed_clone(
    env: EnvBase, robot: Policy, *, num_episodes: int, steps: int, seed: int, limit: float = 0.95
) -> Policy:
    """Clone a Gaussian policy into one whose actions are bounded by tanh, as soft actor-critic needs them (App. B).

    Args:
        env: Environment without an `InterventionTransform`.
        robot: Policy to clone, which takes its most probable actions; a policy of discrete actions is returned as it
            is.
        num_episodes: Number of rollouts.
        steps: Number of gradient steps.
        seed: Seed of the episodes and of the batches.
        limit: Bound that the cloned actions are clipped to, because tanh has no gradient at ±1.
    """
    if isinstance(robot, CategoricalPolicy):
        return robot
    student = make_policy(env, hidden_dims=robot.architecture["hidden_dims"], squash=True)
    rollouts = collect_episodes(env, robot, num_episodes, seed=seed)
    actions = rollouts["robot_action"].clamp(-limit, limit)
    clone_policy(student, rollouts, actions, steps=steps, seed=seed)
    return student


def watch_robot(
    human: SimulatedHuman,
    env: EnvBase,
    robot: Policy,
    outcomes: Sequence[Evaluation] = (),
    *,
    num_episodes: int,
    steps: int,
    seed: int,
) -> None:
    """Let a simulated human's mental model follow the robot: clone rollouts of the present robot.

    Cloning starts from the human's first mental model, so that the new one depends on the first one and on the robot
    alone, and not on the robots between them.

    Args:
        human: Human whose mental model is replaced.
        env: Environment without an `InterventionTransform`.
        robot: Present policy of the robot.
        outcomes: Outcome of each round so far; not used.
        num_episodes: Number of rollouts.
        steps: Number of gradient steps.
        seed: Seed of the episodes and of the batches.
    """
    student = deepcopy(human.first_impression).float()
    human.mental_model, _ = clone_rollouts(env, robot, student, num_episodes=num_episodes, steps=steps, seed=seed)
    human.mental_model.cpu().double()
