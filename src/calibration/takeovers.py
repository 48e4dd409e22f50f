"""Costs of a simulated human in time, from how often takeovers begin and how long they last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs import EnvBase, TransformedEnv

from mile.calibration.estimates import gap_scale
from mile.calibration.outcome import Calibration
from mile.collection import collect_episodes
from mile.envs import InterventionTransform
from mile.evaluation import summarize
from mile.humans import SimulatedHuman
from mile.intervention import action_spread, intervention_floor
from mile.policies import Policy
from mile.timing import Attempts, Gap, Sticky
from mile.timing.attempts import attempt_rows
from mile.timing.model import before

MIN_DISTANCE = 1e-3  # scales σ, between the costs of staying in control and of taking over
LONGEST_STEP = 4.0  # in units of what the model proposes
MIN_LEAVING = 1e-6  # probability of handing back, of a human who never did


@dataclass(frozen=True)
class TakeoverCalibration(Calibration):
    """The effect of the two costs of a human who stays in control, in deployment.

    Attributes:
        release_cost: Cost of staying in control, nats.
        onset_rate: Share of the steps without the human in control before in which they take over.
        mean_length: Mean length of a takeover, steps.
    """

    release_cost: float
    onset_rate: float
    mean_length: float


class Rates(NamedTuple):
    """How often a human takes over, and stays in control.

    Attributes:
        onset: Mean probability of taking over, of a human who is not in control.
        stay: Mean probability of staying in control.
    """

    onset: float
    stay: float


def calibrate_takeovers(
    env: EnvBase,
    policy: Policy,
    expert: Policy,
    mental_model: Policy,
    *,
    timing: Callable[..., Sticky],
    make: Callable[..., SimulatedHuman] = SimulatedHuman,
    onset_rate: float = 0.02,
    mean_length: float = 10.0,
    relative_scale: float = 0.25,
    num_episodes: int = 15,
    tolerance: float = 0.1,
    max_trials: int = 12,
    seed: int = 0,
    metric: str = "return",
    refuse: bool = True,
) -> TakeoverCalibration:
    """Find the costs of taking over and of staying in control for an onset rate and a mean length in deployment.

    The scale is relative_scale × the interquartile range of the expected gap over the states that the robot visits
    alone. Each trial deploys the human, and moves both costs towards where the model, on the states that were visited
    then, would have come to the targets; deviations between model and sample are corrected for, and steps that go one
    way grow. Every trial plays the same episodes with the same random draws.

    Args:
        env: Environment without an `InterventionTransform`.
        policy: Policy of the robot.
        expert: Policy π* in the human's place.
        mental_model: Policy π̂ that the human expects of the robot.
        timing: Function that makes the model in time from its `release_cost`.
        make: Function that makes the human, as `SimulatedHuman`.
        onset_rate: Share of the steps without the human in control before in which they take over, in (0, 1).
        mean_length: Mean length of a takeover, steps, above 1.
        relative_scale: Scale σ in interquartile ranges of the gap.
        num_episodes: Number of episodes in a trial.
        tolerance: Largest deviation from either target, as a share of it, at which the search stops.
        max_trials: Largest number of trials; the best one is returned then.
        seed: Seed of the episodes.
        metric: Metric of the rollouts, "return" or "success".
        refuse: Raise if interventions do not improve the rollouts.

    Raises:
        ValueError: A number is out of its range, the gap is the same everywhere, no cost of staying below that of
            taking over reaches the mean length, or interventions do not raise the return or success.
    """
    from torchmetrics.functional.classification import binary_auroc

    if not (0 < onset_rate < 1 and mean_length > 1):
        raise ValueError(
            f"onset_rate must lie in (0, 1) and mean_length (steps) be above 1, got {onset_rate} and {mean_length}"
        )
    target = Rates(onset_rate, 1 - 1 / mean_length)

    # where the robot acts alone: the scale, and costs to begin with
    steps = collect_episodes(env, policy, num_episodes, seed=seed)
    gap, attempts = _attempts(make(expert, mental_model, 0.0, 1.0), steps)
    expected = gap.expected()[attempts.valid]
    scale = gap_scale(expected, relative_scale)
    spread = float(action_spread(gap.human)[attempts.valid].mean())
    alone = summarize(steps)
    gap, _ = _attempts(make(expert, mental_model, 0.0, scale, timing=timing(release_cost=-1.0)), steps)
    every = Attempts(torch.ones_like(attempts.intervened), attempts.valid, attempts.executed_action)
    cost = _cost_of(lambda c: rates(gap, attempts, timing(release_cost=c), c).onset, target.onset, expected, scale)
    release = _cost_of(lambda c: rates(gap, every, timing(release_cost=c), c).stay, target.stay, expected, scale)

    # a trial: the same episodes with a human of some costs
    def deploy(cost: float, release_cost: float) -> tuple[TakeoverCalibration, SimulatedHuman, TensorDict]:
        human = make(expert, mental_model, cost, scale, timing=timing(release_cost=release_cost))
        supervised = TransformedEnv(env, InterventionTransform(human))
        steps = collect_episodes(supervised, policy, num_episodes, seed=seed)
        observed = observed_rates(_attempts(human, steps)[1])
        helped = summarize(steps)

        trial = TakeoverCalibration(
            cost=cost,
            scale=scale,
            intervention_ratio=helped.intervention_ratio,
            floor=intervention_floor(cost, scale),
            auc=float(binary_auroc(steps["intervention_prob"], steps["intervened"].long())),
            spread=spread,
            alone=alone,
            helped=helped,
            metric=metric,
            release_cost=release_cost,
            onset_rate=observed.onset,
            mean_length=1 / max(MIN_LEAVING, 1 - observed.stay),
        )
        return trial, human, steps

    # trials
    trials: list[TakeoverCalibration] = []
    cost_step, release_step = _Step(), _Step()
    while len(trials) < max_trials:
        trial, human, steps = deploy(cost, min(release, cost - MIN_DISTANCE * scale))
        trials.append(trial)
        if _deviation(trial, onset_rate, mean_length) <= tolerance:
            break

        # the next costs, on the states visited now; as they are where there is nothing to go by
        here = _attempts(human, steps)
        observed, predicted = observed_rates(here[1]), rates(*here, human.timing, cost)  # pyright: ignore
        if observed.onset:
            onset = _corrected(predicted.onset, target.onset, observed.onset)
            wanted = _cost_of(lambda c: rates(*here, timing(release_cost=c), c).onset, onset, expected, scale)  # noqa: B023
            cost += cost_step.towards(wanted - cost)
        else:
            cost -= scale
        if 0 < observed.stay < 1:
            leave = _corrected(1 - predicted.stay, 1 - target.stay, 1 - observed.stay)
            wanted = _cost_of(lambda c: rates(*here, timing(release_cost=c), c).stay, 1 - leave, expected, scale)  # noqa: B023
            release += release_step.towards(wanted - release)

    best = min(trials, key=lambda trial: _deviation(trial, onset_rate, mean_length))
    if refuse and not best.helps:
        raise ValueError(
            f"interventions of this expert and mental model do not raise the {metric} of the rollouts ({best}); choose "
            "another pair, onset_rate, mean_length or relative_scale"
        )
    return best


def rates(gap: Gap, attempts: Attempts, timing: Sticky, cost: float) -> Rates:
    """Return how often a model takes over, and stays in control, given the attempts' ν before each step.

    Args:
        gap: Gap in the steps of the attempts, `[attempts, T]`.
        attempts: Attempts, of which ν before each step decides who is in control.
        timing: Model of the human in time.
        cost: Cost of taking over, nats.
    """
    _, log_prob = timing.attempt_log_probs(gap, attempts, cost)
    in_control = before(attempts.intervened)
    return _means(log_prob.exp(), in_control, attempts.valid)


def observed_rates(attempts: Attempts) -> Rates:
    """Return how often a human took over, and stayed in control."""
    return _means(attempts.intervened.double(), before(attempts.intervened), attempts.valid)


def _means(prob: Tensor, in_control: Tensor, valid: Tensor) -> Rates:
    """Return the mean probability where nobody was in control before, and where the human was; 0 for no such steps."""
    watching, controlling = prob[valid & ~in_control], prob[valid & in_control]
    return Rates(
        float(watching.mean()) if len(watching) else 0.0, float(controlling.mean()) if len(controlling) else 0.0
    )


class _Step:
    """Step of a search, in units of what the model proposes: it doubles while the steps go one way.

    A human who comes in time meets other states than one who comes too late, so that a model of the states that were
    visited last proposes too little.
    """

    def __init__(self) -> None:
        self.factor, self.last = 1.0, 0.0

    def towards(self, difference: float) -> float:
        """Return the step where the model proposes a difference."""
        if difference * self.last > 0:
            self.factor = min(LONGEST_STEP, 2 * self.factor)
        elif difference * self.last < 0:
            self.factor = 0.5
        self.last = difference
        return self.factor * difference


@torch.no_grad()
def _attempts(human: SimulatedHuman, steps: TensorDict) -> tuple[Gap, Attempts]:
    """Return the gap in every step of recorded attempts, and the attempts, `[attempts, T]`."""
    rows, valid = attempt_rows(steps)
    padded: Any = steps.select(*human.in_keys, "intervened", "executed_action")[rows]
    gap = human.gap(padded)
    return gap, Attempts(padded["intervened"], valid, padded["executed_action"])


def _cost_of(rate: Callable[[float], float], target: float, gap: Tensor, scale: float) -> float:
    """Return the cost at which a rate, which falls as the cost rises, is the target."""
    from scipy.optimize import brentq

    low, high, margin = float(gap.min()), float(gap.max()), scale
    for _ in range(20):
        if rate(low - margin) >= target >= rate(high + margin):
            break
        margin *= 2
    else:
        raise ValueError(f"no cost has a rate of {target:.3g}; choose another onset_rate or mean_length")
    cost: Any = brentq(lambda c: rate(c) - target, low - margin, high + margin, xtol=1e-3 * scale)
    return float(cost)


def _corrected(predicted: float, target: float, observed: float) -> float:
    """Return the prediction at which the sample would have had the target, if their quotient stays the same."""
    return min(0.95, max(1e-4, predicted * target / max(observed, 0.2 * target)))


def _deviation(trial: TakeoverCalibration, onset_rate: float, mean_length: float) -> float:
    """Return the larger of the deviations from both targets, as a share of the target."""
    return max(abs(trial.onset_rate / onset_rate - 1), abs(trial.mean_length / mean_length - 1))
