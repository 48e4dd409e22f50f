"""The policies that some methods start from, made of the initial one."""

from typing import Any

from torchrl.envs import EnvBase

from mile.envs.make import HEADS, check_head
from mile.ingredients.cloning import clone_rollouts
from mile.policies import ConditionedPolicy, Policy, ResidualPolicy


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


def policy_of_head(env: EnvBase, robot: Policy, head: str, *, num_episodes: int, steps: int, seed: int) -> Policy:
    """Return a policy of another kind that acts as the robot's does: its rollouts, cloned.

    Args:
        env: Environment without an `InterventionTransform`.
        robot: Policy to clone, which takes its most probable actions; returned as it is if it is of that kind.
        head: Kind of the policy; see `mile.envs.make_policy`.
        num_episodes: Number of rollouts.
        steps: Number of gradient steps.
        seed: Seed of the episodes and of the batches.

    Raises:
        ValueError: The head is unknown, or for other actions.
    """
    check_head(env, head)
    kind: Any = HEADS[head]
    if type(robot) is kind:
        return robot
    shape = robot.architecture
    sizes = shape["observation_dim"], shape["action_dim"], shape["hidden_dims"]
    student = kind(*sizes, pictures=shape.get("pictures"))
    student.in_keys = robot.in_keys
    student.encoders.load_state_dict(robot.encoders.state_dict())
    return clone_rollouts(env, robot, student, num_episodes=num_episodes, steps=steps, seed=seed)[0]
