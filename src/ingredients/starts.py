"""The policies that some methods start from, made of the initial one."""

from typing import Any

from torchrl.envs import EnvBase

from mile.envs.make import HEADS, check_head, in_chunks
from mile.ingredients.cloning import clone_rollouts
from mile.policies import ChunkPolicy, ConditionedPolicy, Policy, ResidualPolicy
from mile.policies.policy import build


def residual_policy(env: EnvBase, robot: Policy, *, components: int) -> ResidualPolicy:
    """Return a policy that corrects the robot's, which is frozen, and has learnt nothing yet.

    Args:
        env: Environment; nothing is done in it.
        robot: Policy that is frozen.
        components: Number of components of the residual's mixture; see `ResidualPolicy`.
    """
    return ResidualPolicy.of(robot, components)


def conditioned_policy(env: EnvBase, robot: Policy) -> ConditionedPolicy:
    """Return a policy that acts as the robot's, and can be told how good its action is to be.

    Args:
        env: Environment; nothing is done in it.
        robot: Policy to copy.
    """
    return ConditionedPolicy.of(robot)


def untrained_like(
    env: EnvBase, robot: Policy, head: str | None = None, chunk: int | None = None, execute: int | None = None
) -> Policy:
    """Return a policy of another kind with the robot's sizes and encoders, otherwise with new weights.

    Args:
        env: Environment.
        robot: Policy to start from; returned as it is if it is of that kind.
        head: Kind of the policy; see `mile.envs.make_policy`. None: the robot's.
        chunk: Number of actions that it decides on at once; None: it decides on single actions.
        execute: Number of them that it executes; None: all.

    Raises:
        ValueError: The head is unknown, or for other actions; there is no such chunk; or the robot decides on chunks.
    """
    if isinstance(robot, ChunkPolicy):
        raise ValueError(
            f"the initial policy decides on {robot.chunk} actions at once, and a run starts from one that decides on "
            "single actions; choose another policy.name"
        )
    kind: Any = type(robot)
    if head is not None:
        check_head(env, head)
        kind = HEADS[head]
    if type(robot) is kind and chunk is None:
        return robot

    # a policy with new weights beside the encoders
    shape = robot.architecture
    if type(robot) is kind:
        student = build(robot.describe())
    else:
        sizes = shape["observation_dim"], shape["action_dim"], shape["hidden_dims"]
        student = kind(*sizes, pictures=shape.get("pictures"))
    student.in_keys = robot.in_keys
    student.encoders.load_state_dict(robot.encoders.state_dict())
    return student if chunk is None else in_chunks(env, student, chunk, execute)


def policy_like(env: EnvBase, robot: Policy, *, num_episodes: int, steps: int, seed: int, **kind: Any) -> Policy:
    """Return a policy of another kind that acts as the robot's does: its rollouts, cloned.

    Args:
        env: Environment without an `InterventionTransform`.
        robot: Policy to clone, which takes its most probable actions; returned as it is if it is of that kind.
        num_episodes: Number of rollouts.
        steps: Number of gradient steps.
        seed: Seed of the episodes and of the batches.
        kind: Options of `untrained_like`, which has the errors, too.
    """
    student = untrained_like(env, robot, **kind)
    if student is robot:
        return robot
    return clone_rollouts(env, robot, student, num_episodes=num_episodes, steps=steps, seed=seed)[0]
