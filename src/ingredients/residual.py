"""The policy that the method `Residual` starts from."""

from torchrl.envs import EnvBase

from mile.policies import Policy, ResidualPolicy


def residual_policy(env: EnvBase, robot: Policy, *, components: int) -> ResidualPolicy:
    """Return a policy that corrects the robot's, which is frozen, and has learnt nothing yet.

    Args:
        env: Environment; nothing is done in it.
        robot: Policy that is frozen.
        components: Number of components of the residual's mixture; see `ResidualPolicy`.
    """
    return ResidualPolicy.of(robot, components)
