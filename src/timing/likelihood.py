"""The likelihood of a human's parameters where the policies are given, in the numbers that a search goes over."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.distributions import Categorical

from mile.intervention import check_cost_and_scale
from mile.quadrature import MIN_LAGUERRE_SCALE
from mile.timing.believing import Believing, with_belief
from mile.timing.delayed import Delayed, delayed_log_likelihood
from mile.timing.fixed_gap import FixedGap, fixed_gap
from mile.timing.model import Attempts, Gap, TimingModel, before
from mile.timing.sticky import Sticky

FIELDS = ("release_cost", "median_delay", "leak", "memory", "cost_per_step")  # of models, that are fitted
COSTS = ("cost", "release_cost", "cost_per_step")  # in scales of the start
LOGARITHMIC = ("scale", "median_delay")
LEAST_DELAY = 0.05  # steps: with a median below 0.1 there is no delay
LEAST_SCALE, LARGEST_SCALE = 1e-3, 1e6  # in scales of the start
SMALLEST = 1e-6  # distance of c_off from c_on, in scales of the start


class People(NamedTuple):
    """A Gaussian prior over people: on the cost c and on ln σ. An infinite standard deviation is no prior.

    Attributes:
        cost: Mean and standard deviation of the cost of taking over, nats.
        log_scale: Mean and standard deviation of the logarithm of the scale in nats.
    """

    cost: tuple[float, float] = (0.0, math.inf)
    log_scale: tuple[float, float] = (0.0, math.inf)

    def log_density(self, cost: float, scale: float) -> float:
        """Return the logarithm of the prior's density at a cost and a scale (nats), up to a constant."""
        distance = (cost - self.cost[0]) / self.cost[1]
        log_distance = (math.log(scale) - self.log_scale[0]) / self.log_scale[1]
        return -0.5 * (distance**2 + log_distance**2)


def timing_parameters(timing: TimingModel) -> dict[str, float]:
    """Return the parameters of a model in time that a fit can learn, by name."""
    parameters = {}
    for name in FIELDS:
        if hasattr(timing, name):
            parameters[name] = float(getattr(timing, name))
    return parameters


def with_parameters(timing: Any, parameters: Mapping[str, float]) -> TimingModel:
    """Return a model in time with other parameters, by name; those that it does not have are left out."""
    fields = {}
    for name in timing_parameters(timing):
        if name in parameters:
            fields[name] = parameters[name]
    return replace(timing, **fields) if fields else timing


class HumanLikelihood:
    """The likelihood of a human's parameters, with that of a prior.

    A search goes over one free number for each parameter that is not held: costs in scales σ of the start (c_off as its
    distance below c_on), scale and median delay as logarithms, others as they are. A profile pins one parameter;
    where that is c_off, the search goes over its distance from c_on.

    Args:
        gap: Gap in every step of the attempts, `[attempts, T]`.
        attempts: Attempts, `[attempts, T]`.
        timing: Model of the human in time, where the search starts.
        cost: Cost of taking over where the search starts, nats.
        scale: Scale σ where the search starts, nats.
        prior: Prior over people; None: none.
        hold: Names of parameters that keep the value that they start with.

    Attributes:
        start: Parameters where the search starts, by name.
        names: Names of the parameters that are not held.
        ranges: Least and largest value of each parameter, by name.
        bounds: Least and largest free number of each parameter, by name.

    Raises:
        ValueError: A parameter to hold is unknown, the start makes no sense, or the gap does not have the shape of the
            attempts.
    """

    def __init__(
        self,
        gap: Gap,
        attempts: Attempts,
        timing: TimingModel,
        cost: float,
        scale: float,
        *,
        prior: People | None = None,
        hold: Collection[str] = (),
    ) -> None:
        check_cost_and_scale(cost, scale)
        timing.check(cost)
        self.start = {"cost": float(cost), "scale": float(scale), **timing_parameters(timing)}
        unknown = sorted(set(hold) - self.start.keys())
        if unknown:
            raise ValueError(f"hold must name some of {', '.join(self.start)}, got '{unknown[0]}'")
        if gap.human.batch_shape != attempts.intervened.shape:
            wanted, got = list(attempts.intervened.shape), list(gap.human.batch_shape)
            raise ValueError(f"the gap must have the shape of the attempts, {wanted}, got {got}")

        self.timing = timing
        self.prior = People() if prior is None else prior
        self.names = [name for name in self.start if name not in hold]
        self.unit = float(scale)
        self.attempts = Attempts(*(None if part is None else part.cpu() for part in attempts))  # pyright: ignore

        # what does not depend on the parameters
        least = scale if "scale" in hold else LEAST_SCALE * scale
        if "scale" in self.names and not isinstance(gap.human, Categorical):
            least = max(least, min(MIN_LAGUERRE_SCALE, scale))
        self.ranges, self.bounds = self._limits(least)
        self.gap_of = _gaps(gap, attempts, timing, least)

    def _limits(self, least_scale: float) -> tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]:
        """Return the ranges of the parameters, and those of their free numbers."""
        longest = float(getattr(self.timing, "longest_delay", 1.0))
        least_cost = -LARGEST_SCALE
        if "release_cost" in self.start and "release_cost" not in self.names:
            least_cost = (self.start["release_cost"] - self.start["cost"]) / self.unit + SMALLEST
        ranges = {
            "cost": (-math.inf, math.inf),
            "scale": (0.0, math.inf),
            "release_cost": (-math.inf, math.inf),
            "median_delay": (0.0, longest),
            "leak": (0.0, 1.0),
            "memory": (0.0, 1.0),
            "cost_per_step": (0.0, math.inf),
        }

        # of the free numbers
        bounds = {
            "cost": (least_cost, LARGEST_SCALE),
            "scale": (math.log(least_scale), math.log(LARGEST_SCALE * self.unit)),
            "release_cost": (SMALLEST, LARGEST_SCALE),
            "median_delay": (math.log(LEAST_DELAY), math.log(longest)),
            "leak": (1e-3, 1.0),
            "memory": (0.0, 1.0),
            "cost_per_step": (0.0, LARGEST_SCALE),
        }
        return ranges, bounds

    def searched(self, pinned: str | None = None) -> list[str]:
        """Return the names of the free numbers that a search goes over while a parameter is pinned."""
        if pinned == "release_cost" and "cost" in self.names:
            pinned = "cost"
        return [name for name in self.names if name != pinned]

    def free(self, name: str, values: dict[str, float]) -> float:
        """Return the free number of a parameter."""
        value = values[name]
        if name in LOGARITHMIC:
            return math.log(max(value, LEAST_DELAY if name == "median_delay" else 0.0))
        if name == "cost":
            return (value - self.start["cost"]) / self.unit
        if name == "release_cost":
            return (values["cost"] - value) / self.unit
        return value / self.unit if name == "cost_per_step" else value

    def values(self, free: dict[str, float], pinned: dict[str, float]) -> dict[str, float]:
        """Return the parameters, by name, that some free numbers and the value of one parameter, or none, stand for."""
        values = {**self.start, **pinned}
        for name, number in free.items():
            if name in LOGARITHMIC:
                values[name] = min(math.exp(number), self.ranges[name][1])  # exp(ln 30) is above 30
            elif name == "cost":
                values[name] = self.start["cost"] + number * self.unit
            elif name != "release_cost":
                values[name] = number * self.unit if name == "cost_per_step" else number

        # c_off is below c_on
        if "release_cost" in free and "release_cost" not in pinned:
            values["release_cost"] = values["cost"] - free["release_cost"] * self.unit
        elif "release_cost" in free:
            values["cost"] = values["release_cost"] + free["release_cost"] * self.unit
        return values

    @torch.no_grad()
    def log_likelihood(self, values: dict[str, float]) -> float:
        """Return the log-likelihood of the attempts, nats."""
        timing: Any = self.model(values)
        gap: Any = self.gap_of(values.get("memory", 0.0)).at(values["scale"])
        intervened, cost = self.attempts.intervened, values["cost"]

        if isinstance(timing, Delayed):  # each step has one cost
            log_probs = gap.log_probs(timing.step_cost({"in_control": before(intervened)}, cost))
            total = delayed_log_likelihood(log_probs, log_probs, timing.delay(), intervened, self.attempts.valid)
            return float(total.sum())
        if isinstance(timing, Believing):  # its belief is in the gap already
            timing = Sticky(timing.release_cost)
        return float(timing.log_likelihood(gap.at(gap.scale, intervened), self.attempts, cost).sum())

    def __call__(self, values: dict[str, float]) -> float:
        """Return the log-likelihood of the attempts and of the prior, nats."""
        return self.log_likelihood(values) + self.prior.log_density(values["cost"], values["scale"])

    def model(self, values: dict[str, float]) -> TimingModel:
        """Return the model in time with these parameters."""
        return with_parameters(self.timing, values)


def _gaps(gap: Gap, attempts: Attempts, timing: TimingModel, least_scale: float) -> Callable[[float], FixedGap]:
    """Return the gap in every step as a function of the memory, on which a human's belief depends."""
    if not isinstance(timing, Believing):
        fixed = fixed_gap(gap, least_scale)
        return lambda memory: fixed

    @lru_cache(maxsize=8)
    def believed(memory: float) -> FixedGap:
        belief = replace(timing, memory=memory).context(lambda: gap, attempts, 0.0)["log_belief"]
        return fixed_gap(with_belief(gap, belief), least_scale)

    return believed
