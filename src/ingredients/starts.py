"""The policies that some methods start from, made of the initial one."""

from torchrl.envs import EnvBase

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
