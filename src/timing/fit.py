"""The parameters of a human in time, learnt from attempts by maximum likelihood, with intervals.

The policies are given, so ν has a smooth likelihood in a few parameters: a mixture of probits, because the action that
a human would have taken is observed only where they intervene. It is not concave, hence several starts. The ends of an
interval are the values at which the profile likelihood, the largest one over all other parameters, has a likelihood
ratio of 3.84 to the maximum: the 95 % quantile of χ² with one degree of freedom.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from mile.timing.likelihood import HumanLikelihood, People, timing_parameters
from mile.timing.model import Attempts, Gap, TimingModel
from mile.timing.search import HumanSearch, takeovers

BETTER = 1e-3  # nats by which another maximum must be higher


@dataclass(frozen=True)
class HumanFit:
    """What attempts say about a human.

    Attributes:
        cost: Cost of taking over, c (c_on), nats.
        scale: Standard deviation σ of Φ, nats.
        timing: Model of the human in time, with its parameters.
        log_likelihood: Log-likelihood of the attempts at these parameters, without a prior's, nats.
        onsets: Number of takeovers.
        intervals: Ends of the 95 % interval of each parameter that was fitted, by name; empty if none were wanted. An
            end may be infinite.
    """

    cost: float
    scale: float
    timing: TimingModel
    log_likelihood: float
    onsets: int
    intervals: dict[str, tuple[float, float]]

    def parameters(self) -> dict[str, float]:
        """Return the cost, the scale, and the parameters of the model that a fit can learn, by name."""
        return {"cost": self.cost, "scale": self.scale, **timing_parameters(self.timing)}


def fit_human(
    gap: Gap,
    attempts: Attempts,
    timing: TimingModel,
    cost: float,
    scale: float,
    *,
    prior: People | None = None,
    hold: Collection[str] = (),
    intervals: bool = True,
) -> HumanFit:
    """Return the parameters of a human that explain their ν best, with 95 % profile-likelihood intervals.

    Learnt are `cost` (c_on), `scale` (σ), and where the model has them `release_cost` (c_off, below c_on),
    `median_delay`, `leak`, `memory` and `cost_per_step`. Held are a delay's spread and its longest value, and the
    belief that an attempt begins with.

    A Gaussian human's σ well below √(d/2) nats, the spread of their own actions in d dimensions, is hardly identified:
    hold it, or give a prior on ln σ. It is not searched below 0.25 nats there, or below the start. With a prior the
    estimate is the most probable one, and the intervals are those of the penalised likelihood.

    Where nobody took over, the likelihood rises with the cost for ever: the cost's interval is open above, the estimate
    is a finite cost at which the likelihood is 0.01 nats short of its limit, and nothing is learnt of the other
    parameters. Where every step has ν=1 the same is true below, and of c_off where nobody ever handed back.

    Args:
        gap: Gap in every step of the attempts, `[attempts, T]`.
        attempts: Attempts, `[attempts, T]`.
        timing: Model of the human in time, where the search starts.
        cost: Cost of taking over where the search starts, nats.
        scale: Scale σ where the search starts, nats.
        prior: Prior over people; None: none.
        hold: Names of parameters that keep the value that they start with.
        intervals: Whether intervals are wanted; the estimate alone takes a fraction of the time.

    Raises:
        ValueError: A parameter to hold is unknown, the start makes no sense, or the gap does not have the shape of the
            attempts.
    """
    likelihood = HumanLikelihood(gap, attempts, timing, cost, scale, prior=prior, hold=hold)
    search = HumanSearch(likelihood)

    # intervals; anew if a profile has led to a larger likelihood
    ends: dict[str, tuple[float, float]] = {}
    level = -math.inf
    while intervals and search.largest > level + BETTER:
        level = search.largest
        for name in likelihood.names:
            ends[name] = search.interval(name)

    values = search.estimate()
    return HumanFit(
        cost=values["cost"],
        scale=values["scale"],
        timing=likelihood.model(values),
        log_likelihood=likelihood.log_likelihood(values),
        onsets=int(takeovers(likelihood.attempts).sum()),
        intervals=ends,
    )
