"""What somebody with a recording of interventions wants to know first: how many, how long, when, how predictable."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from tensordict import TensorDictBase
from torch import Tensor

from mile.evaluation import summarize
from mile.recordings.effort import effort
from mile.recordings.prediction import prediction_metrics, trained_network
from mile.transitions import DEMONSTRATION, decided, observed, onsets

FOLDS = 2  # parts of the episodes, of which each is predicted from the others
UPDATES = 300  # gradient steps of a predicting network
LAGS = (0, 1, 2, 3, 5, 8, 12, 20)  # steps before an onset, of which the state is looked at
FEWEST = 5  # onsets from which on their delay is estimated
DECIMALS = 4


class Group(NamedTuple):
    """The interventions of a person in a round.

    Attributes:
        person: Name of the person.
        round: Number of the round, from 1; 0 are demonstrations.
        episodes: Number of episodes.
        steps: Number of steps.
        success: Share of the episodes that succeeded.
        ratio: Share of the steps with ν=1.
        takeovers: Mean number of takeovers in an episode.
        takeover_steps: Median length of a takeover, steps; NaN without any.
        first_onset: Median step of an episode's first takeover; NaN without any.
        seconds: Time in control, s; NaN where the steps have no time.
    """

    person: str
    round: int
    episodes: int
    steps: int
    success: float
    ratio: float
    takeovers: float
    takeover_steps: float
    first_onset: float
    seconds: float


class Predictability(NamedTuple):
    """How well a person's interventions can be foreseen in episodes that the prediction has not seen.

    Attributes:
        person: Name of the person.
        auc: Area under the ROC curve of ν predicted from the state alone; 0.5 is chance. NaN where it cannot be.
        auc_of_before: The same of predicting what ν was one step before.
        onset_auc: The same of onsets among the robot's steps, by how many steps before the state is from.
        delay: Fewest steps before, of which the state foretells onsets as well as any does; NaN with few onsets.
        switches: Share of the steps in which ν changes.
    """

    person: str
    auc: float
    auc_of_before: float
    onset_auc: dict[int, float]
    delay: float
    switches: float


def describe(person: str, steps: TensorDictBase) -> list[Group]:
    """Return the groups of a person's recording, by round.

    Args:
        person: Name of the person.
        steps: Recorded steps of whole episodes, one after another, `[steps]`.
    """
    groups = []
    for number in steps["round"].unique(sorted=True).tolist():
        rows: Any = steps[steps["round"] == number]
        outcome, spent = summarize(rows), effort(rows)
        starts = onsets(rows["intervened"], rows["step"])
        group = Group(
            person=person,
            round=0 if number == DEMONSTRATION else number + 1,
            episodes=len(outcome.lengths),
            steps=len(rows),
            success=outcome.success_rate,
            ratio=outcome.intervention_ratio,
            takeovers=spent.takeovers / len(outcome.lengths),
            takeover_steps=_median(takeover_lengths(rows)),
            first_onset=_median(first_onsets(rows, starts)),
            seconds=spent.seconds if rows["timestamp"].any() else math.nan,
        )
        groups.append(group)
    return groups


def takeover_lengths(steps: TensorDictBase) -> Tensor:
    """Return the length of each run of steps with ν=1, `[takeovers]`, steps."""
    intervened = steps["intervened"]
    number = onsets(intervened, steps["step"]).long().cumsum(0)[intervened]
    return torch.bincount(number)[1:] if len(number) else number


def first_onsets(steps: TensorDictBase, starts: Tensor) -> Tensor:
    """Return the step at which each episode's first takeover begins, `[episodes with one]`.

    Args:
        steps: Whole episodes, one after another, `[steps]`.
        starts: Where takeovers begin, `[steps]` bool.
    """
    episode = episode_numbers(steps)
    first = torch.full([int(episode[-1]) + 1], len(steps))
    first = first.scatter_reduce(0, episode[starts], steps["step"][starts], "amin")
    return first[first < len(steps)]


def episode_numbers(steps: TensorDictBase) -> Tensor:
    """Return which episode each step belongs to, from 0 on, `[steps]`."""
    return (steps["step"] == 0).long().cumsum(0) - 1


def predictability(person: str, steps: TensorDictBase, seed: int = 0) -> Predictability:
    """Return how well a person's interventions can be foreseen, in halves of the episodes from the other half.

    A person who reacts late takes over because of what they saw some steps before; so the lag at which the state
    foretells onsets best estimates the delay. Steps of demonstrations, and those in which nobody decided, do not count.

    Args:
        person: Name of the person.
        steps: Recorded steps of whole episodes, one after another, `[steps]`.
        seed: Seed of the networks.
    """
    deployed: Any = steps[steps["round"] != DEMONSTRATION]
    unknown = Predictability(person, math.nan, math.nan, {}, math.nan, math.nan)
    vectors = [name for name in observed(deployed) if deployed[name].ndim == 2 and deployed[name].is_floating_point()]
    if not len(deployed) or not vectors:
        return unknown

    # ν now, and one step before
    inputs = torch.cat([deployed[name].float() for name in vectors], -1)
    intervened, free, episode = deployed["intervened"], decided(deployed), episode_numbers(deployed)
    previous = torch.cat([torch.zeros_like(intervened[:1]), intervened[:-1]]) & (deployed["step"] > 0)
    auc = _held_out_auc(inputs, intervened, free, episode, seed)

    # onsets, from the state of some steps before
    starts = onsets(intervened, deployed["step"])
    waiting = free & ~previous  # steps in which a takeover could begin
    onset_auc = {}
    for lag in LAGS:
        early = torch.cat([inputs[:1].expand(lag, -1), inputs[: len(inputs) - lag]])
        there = waiting & (deployed["step"] >= max(LAGS))  # the same steps for each lag
        onset_auc[lag] = _held_out_auc(early, starts, there, episode, seed)
    count = int((starts & waiting & (deployed["step"] >= max(LAGS))).sum())

    return Predictability(
        person=person,
        auc=auc,
        auc_of_before=_auc(previous.double()[free], intervened[free]),
        onset_auc=onset_auc,
        delay=_delay(onset_auc, count),
        switches=float((intervened != previous).double().mean()),
    )


def _delay(onset_auc: dict[int, float], count: int) -> float:
    """Return the smallest lag that foretells onsets as well as the best one does, up to a standard error of the latter.

    Args:
        onset_auc: AUC by lag.
        count: Number of onsets; the standard error is at most √(AUC (1 − AUC) / count).
    """
    known = {lag: value for lag, value in onset_auc.items() if not math.isnan(value)}
    if count < FEWEST or not known:
        return math.nan
    best = max(known.values())
    error = math.sqrt(best * (1 - best) / count)
    return float(min(lag for lag, value in known.items() if value >= best - error))


def numbers(groups: Sequence[Group], foreseen: Sequence[Predictability]) -> dict[str, Any]:
    """Return all numbers as JSON has them; what is not known is null."""
    by_round = [_plain(group._asdict()) for group in groups]
    by_person = [_plain(person._asdict()) for person in foreseen]
    return {"groups": by_round, "predictability": by_person}


def _held_out_auc(inputs: Tensor, target: Tensor, rows: Tensor, episode: Tensor, seed: int) -> float:
    """Return the AUC of a network's predictions in episodes that it was not trained on.

    Args:
        inputs: What is predicted from, `[steps, inputs]`.
        target: What is predicted, `[steps]` bool.
        rows: Steps that count, `[steps]` bool.
        episode: Number of each step's episode, `[steps]`.
        seed: Seed of the networks.
    """
    prob = torch.full(target.shape, torch.nan, dtype=torch.float64)
    for fold in range(FOLDS):
        held_out = rows & (episode % FOLDS == fold)
        others = rows & (episode % FOLDS != fold)
        if not held_out.any() or not others.any():
            return math.nan
        network = trained_network(inputs[others], target[others], updates=UPDATES, seed=seed)
        with torch.no_grad():
            prob[held_out] = network(inputs[held_out]).squeeze(-1).sigmoid().double()
    return _auc(prob[rows], target[rows])


def _auc(prob: Tensor, target: Tensor) -> float:
    """Return the area under the ROC curve; NaN where one of the two classes is empty."""
    return prediction_metrics(prob, target).get("auc", math.nan)


def _median(values: Tensor) -> float:
    return float(values.double().quantile(0.5)) if len(values) else math.nan


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the same values with rounded numbers, and None for NaN."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            plain[name] = _plain({str(key): inner for key, inner in value.items()})
        elif isinstance(value, float):
            plain[name] = None if math.isnan(value) else round(value, DECIMALS)
        else:
            plain[name] = value
    return plain
