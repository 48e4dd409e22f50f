"""Searches for the parameters of a human: the largest likelihood, and profiles of it."""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool
from torch import Tensor

from mile.timing.likelihood import COSTS, LARGEST_SCALE, LOGARITHMIC, HumanLikelihood
from mile.timing.model import Attempts, TimingModel, before
from mile.timing.sticky import Sticky

LIKELIHOOD_RATIO = 3.841458820694124  # 95 % quantile of χ² with one degree of freedom
SHORT_OF_LIMIT = 0.01  # nats below the limit of a likelihood that rises for ever
STEP = 1e-5  # of finite differences, in free numbers
IMPOSSIBLE = -1e10  # nats, for a search: less than any attempt has
START_SCALES = (1 / 3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the starts; with policies that are wrong σ is large
FIRST_STEP = 0.25  # from the estimate, in scales of the start for costs
NUM_SEARCHES = 2  # from the most probable starts
MAX_DOUBLINGS = 14  # of the distance from the estimate, before an interval counts as open


class HumanSearch:
    """Finds the largest likelihood of a human's parameters, and profiles.

    Args:
        likelihood: Likelihood of the parameters.

    Attributes:
        best: Parameters of the largest likelihood that is known so far, by name.
        largest: That likelihood, with the prior's, nats.
    """

    def __init__(self, likelihood: HumanLikelihood) -> None:
        self.likelihood = likelihood
        self._counts = _counts(likelihood.attempts, likelihood.timing)
        self.best, self.largest = likelihood.start, -math.inf
        self.search()

    # the largest likelihood

    def search(self) -> None:
        """Search from several starts."""
        limit = self.limit("cost")
        if limit:  # there is no maximum; nothing else matters there
            far = self.likelihood.start["cost"] + limit * 1e5 * self.likelihood.unit
            self.best, self.largest = self.maximise({"cost": far}, self.likelihood.start)
            return
        starts = sorted(self._starts(), key=self.likelihood, reverse=True)
        for start in starts[:NUM_SEARCHES]:
            values, largest = self.maximise({}, start)
            if largest > self.largest:
                self.best, self.largest = values, largest

    def maximise(self, pinned: dict[str, float], start: dict[str, float]) -> tuple[dict[str, float], float]:
        """Return the parameters of a largest likelihood, and the likelihood, where one parameter, or none, is pinned.

        Args:
            pinned: Value of the pinned parameter, by its name; empty if none is.
            start: Parameters where the search starts, by name.
        """
        from scipy.optimize import minimize  # takes a while

        likelihood = self.likelihood
        names = likelihood.searched(next(iter(pinned), None))

        # costs in scales of this start, so that all numbers are of one order
        costs = np.array([name in COSTS for name in names])
        unit = np.where(costs, start["scale"] / likelihood.unit, 1.0)
        bounds = np.array([likelihood.bounds[name] for name in names]).reshape(-1, 2) / unit[:, None]

        def parameters(numbers: np.ndarray) -> dict[str, float]:
            return likelihood.values(dict(zip(names, (unit * numbers).tolist(), strict=True)), pinned)

        def loss(numbers: np.ndarray) -> float:
            value = likelihood(parameters(numbers))
            return -value if value > IMPOSSIBLE else -IMPOSSIBLE

        def loss_and_gradient(numbers: np.ndarray) -> tuple[float, np.ndarray]:
            here, gradient = loss(numbers), np.zeros_like(numbers)
            for index in range(len(names)):
                other = numbers.copy()
                other[index] += STEP if numbers[index] + STEP <= bounds[index, 1] else -STEP
                gradient[index] = (loss(other) - here) / (other[index] - numbers[index])
            return here, gradient

        first = np.array([likelihood.free(name, start) for name in names]) / unit
        first = first.clip(bounds[:, 0], bounds[:, 1])
        numbers = first
        if names:
            numbers = minimize(
                loss_and_gradient,
                first,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": 1e-9, "gtol": 1e-3, "maxiter": 200},
            ).x
        values = parameters(numbers)
        return values, likelihood(values)

    def _starts(self) -> list[dict[str, float]]:
        """Return parameters to start from: the given ones, and at several scales those with the observed rates of ν."""
        likelihood = self.likelihood
        starts = [likelihood.start]
        for factor in START_SCALES if "scale" in likelihood.names else (1.0,):
            scale = factor * likelihood.unit
            start = {**likelihood.start, "scale": scale}
            for name, (where, share) in self._counts.items():
                if name in likelihood.names and where.any():
                    start[name] = self._cost_of(where, share, scale)
            if "release_cost" in start:
                start["release_cost"] = min(start["release_cost"], start["cost"] - 0.1 * scale)
            starts.append(start)
        return starts

    def _cost_of(self, where: Tensor, share: float, scale: float) -> float:
        """Return the cost at which the mean p(ν=1) over some steps is the observed share of ν=1, by bisection."""
        gap = self.likelihood.gap_of(self.likelihood.start.get("memory", 0.0)).at(scale)
        least = 0.5 / int(where.sum())
        share = min(max(share, least), 1 - least)
        reach = 10 * scale + 10.0
        low, high = float(gap.mean.min()) - reach, float(gap.mean.max()) + reach
        for _ in range(16):
            middle = (low + high) / 2
            if float(gap.log_probs(middle)[1].exp()[where].mean()) > share:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    # limits: likelihoods without a maximum

    def limit(self, name: str) -> int:
        """Return 1 or −1 if the likelihood rises for ever with a cost, or with its negative, and 0 otherwise."""
        if name not in self._counts or name not in self.likelihood.names:
            return 0
        if name == "cost" and math.isfinite(self.likelihood.prior.cost[1]):
            return 0
        where, share = self._counts[name]
        if name == "cost":
            everywhere = bool(self.likelihood.attempts.intervened[self.likelihood.attempts.valid].all())
            return 1 if share == 0 else -int(everywhere)
        return -int(share == 1 and bool(where.any()))

    def knows_nothing_of(self, name: str) -> bool:
        """Return whether the attempts say nothing of a parameter."""
        if name == "cost":
            return False
        if name == "release_cost" and not self._counts["release_cost"][0].any():
            return True
        return self.limit("cost") != 0 and not (name == "scale" and math.isfinite(self.likelihood.prior.log_scale[1]))

    def estimate(self) -> dict[str, float]:
        """Return the parameters of the largest likelihood; where that is a limit, parameters short of it."""
        if self.limit("cost"):
            return self._with_cost(self._cost_short_of_limit(self.limit("cost")))
        if self.limit("release_cost"):
            return self.end("release_cost", 1, 2 * SHORT_OF_LIMIT)[1]
        return self.best

    def _cost_short_of_limit(self, side: int) -> float:
        """Return the cost nearest to the start at which the likelihood is nearly as large as at an infinite one."""
        from scipy.optimize import brentq  # takes a while

        start, unit = self.likelihood.start["cost"], self.likelihood.unit

        def missing(cost: float) -> float:
            return self.largest - self.likelihood(self._with_cost(cost)) - SHORT_OF_LIMIT

        near = far = start
        step = unit
        while missing(far) > 0 and step < LARGEST_SCALE * unit:
            near, far, step = far, far + side * step, 2 * step
        while near == far or (missing(near) < 0 and step < LARGEST_SCALE * unit):
            near, far, step = near - side * step, near, 2 * step
        if missing(near) * missing(far) > 0:
            return far
        return float(brentq(missing, near, far, xtol=1e-3 * unit))  # pyright: ignore

    def _with_cost(self, cost: float) -> dict[str, float]:
        """Return the parameters of the start with another cost, and with a c_off below it."""
        values = {**self.likelihood.start, "cost": cost}
        if "release_cost" in self.likelihood.names:
            values["release_cost"] = min(values["release_cost"], cost - 0.1 * self.likelihood.unit)
        return values

    # profiles

    def ratio(self, name: str, value: float, start: dict[str, float] | None = None) -> tuple[float, dict[str, float]]:
        """Return the likelihood ratio of a parameter's value, and the parameters of that profile, by name.

        The ratio is twice the loss in the largest (penalised) log-likelihood if the parameter is pinned to the value.

        Args:
            name: Name of the parameter.
            value: Value of the parameter.
            start: Parameters where the search starts, by name; None: those of the largest likelihood.
        """
        values, largest = self.maximise({name: value}, self.best if start is None else start)
        ratio = 2 * (self.largest - largest)
        if largest > self.largest:  # the search has missed it
            self.best, self.largest = values, largest
        return ratio, values

    def interval(self, name: str) -> tuple[float, float]:
        """Return the ends of a parameter's 95 % profile-likelihood interval."""
        low, high = self.likelihood.ranges[name]
        if self.knows_nothing_of(name):
            return low, high
        limit = self.limit(name)
        if limit >= 0:
            low = self.end(name, -1)[0]
        if limit <= 0:
            high = self.end(name, 1)[0]
        return low, high

    def end(self, name: str, side: int, ratio: float = LIKELIHOOD_RATIO) -> tuple[float, dict[str, float]]:
        """Return the value below or above the estimate that has a likelihood ratio, and the parameters of that profile.

        Args:
            name: Name of the parameter.
            side: Side of the estimate: −1 for below, 1 for above.
            ratio: Likelihood ratio.
        """
        from scipy.optimize import brentq  # takes a while

        to, back, bound = self._coordinates(name, side)
        solution = self.best
        known: dict[float, tuple[float, dict[str, float]]] = {}  # another search of a place may end elsewhere

        def excess(place: float) -> float:
            nonlocal solution
            if place not in known:
                known[place] = self.ratio(name, back(place), solution)
            achieved, solution = known[place]
            return math.sqrt(max(achieved, 0.0)) - math.sqrt(ratio)

        # a place within the interval
        inside = to(self.best[name])
        if self.limit(name) == -side:
            inside, step = to(self.likelihood.start[name]), FIRST_STEP
            while excess(inside) > 0:
                inside, step = inside - side * step, 2 * step

        # one outside
        outside, step, beyond = inside, FIRST_STEP, -math.inf
        for _ in range(MAX_DOUBLINGS):
            inside, outside = outside, outside + side * step
            if side * outside >= side * bound:
                outside = bound
            beyond, step = excess(outside), 2 * step
            if beyond >= 0 or outside == bound:
                break
        if beyond < 0:
            low, high = self.likelihood.ranges[name]
            return (high if side > 0 else low), solution

        # the place between; there is none if a larger likelihood has come up on the way
        if excess(inside) < 0:
            inside = float(brentq(excess, inside, outside, xtol=1e-3 * abs(outside - inside)))  # pyright: ignore
        excess(inside)
        return back(inside), solution

    def _coordinates(self, name: str, side: int) -> tuple[Callable[[float], float], Callable[[float], float], float]:
        """Return the functions from a parameter to the number that an end is searched in, and back, and its bound."""
        bound = self.likelihood.bounds[name][int(side > 0)]
        if name in LOGARITHMIC:
            return math.log, (lambda place: min(math.exp(place), self.likelihood.ranges[name][1])), bound
        unit = self.likelihood.unit if name in COSTS else 1.0
        if name in ("cost", "release_cost"):
            bound = side * LARGEST_SCALE
        return (lambda value: value / unit), (lambda place: place * unit), bound


def takeovers(attempts: Attempts) -> Bool[Tensor, "*batch T"]:
    """Return where a human took over: ν=1 after ν=0, or in the first step."""
    return attempts.valid & attempts.intervened & ~before(attempts.intervened)


def _counts(attempts: Attempts, timing: TimingModel) -> dict[str, tuple[Tensor, float]]:
    """Return, for each cost, the steps that are decided by it, and the share of ν=1 in them, by name."""
    in_control = before(attempts.intervened) & isinstance(timing, Sticky)
    counts = {}
    for name, where in (("cost", attempts.valid & ~in_control), ("release_cost", attempts.valid & in_control)):
        share = float(attempts.intervened[where].double().mean()) if where.any() else 0.5
        counts[name] = where, share
    return counts
