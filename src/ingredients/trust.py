"""A human whose effort depends on how far they trust the robot."""

import math
from collections.abc import Sequence

from torchrl.envs import EnvBase

from mile.evaluation import Evaluation
from mile.humans.simulated import SimulatedHuman
from mile.policies import Policy


def update_trust(
    human: SimulatedHuman,
    env: EnvBase,
    robot: Policy,
    outcomes: Sequence[Evaluation],
    *,
    prior: Sequence[float],
    success_weight: float,
    failure_weight: float,
    sensitivity: float,
) -> None:
    """Set a human's cost by their trust in the robot after all attempts of the rounds so far.

    Trust is the mean of a Beta distribution. The cost is the first one + sensitivity × the rise of logit(trust).

    Args:
        human: Human whose cost is set.
        env: Environment; not used.
        robot: Present policy of the robot; not used, because the human has not seen it act.
        outcomes: Outcome of each round so far.
        prior: Parameters of the Beta distribution before the first round, each above 0.
        success_weight: Rise of the first parameter with each success.
        failure_weight: Rise of the second parameter with each failure.
        sensitivity: Rise of the cost with logit(trust), nats.

    Raises:
        ValueError: A number is out of its range.
    """
    trusted, distrusted = prior
    if not (min(trusted, distrusted) > 0 and min(success_weight, failure_weight) >= 0):
        raise ValueError(
            f"prior must be above 0 and both weights at least 0, got {list(prior)}, {success_weight}, {failure_weight}"
        )
    before = math.log(trusted / distrusted)
    for outcome in outcomes:
        successes = int(outcome.successes.sum())
        trusted += success_weight * successes
        distrusted += failure_weight * (len(outcome.successes) - successes)
    human.cost = human.first_cost + sensitivity * (math.log(trusted / distrusted) - before)
