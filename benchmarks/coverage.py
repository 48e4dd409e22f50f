"""Coverage of the 95 % intervals of a human's parameters: 2000 simulated people, 30 attempts of 60 steps each.

python benchmarks/coverage.py [--people N] [--model memoryless|sticky|delayed] [--file FILE]

The shipped LunarLander policies, in states that the initial policy met: every fourth of the first 240 steps of an
attempt. All people meet the same states. Their parameters are drawn from the distributions below; every search starts
from the same parameters. An interval covers the truth if the likelihood ratio of the truth is at most 3.84; the first
four people's intervals are computed as well, and compared.
"""

import argparse
import itertools
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.policies import load_policy
from mile.reports.csv_tables import write_csv
from mile.timing import Attempts, Delayed, Gap, HumanLikelihood, HumanSearch, Memoryless, Sticky, TimingModel
from mile.timing.attempts import attempt_rows
from mile.timing.fit import BETTER
from mile.timing.fixed_gap import FixedGap, fixed_gap
from mile.timing.search import LIKELIHOOD_RATIO, takeovers

SEED = 21
ATTEMPTS, STEPS, EVERY = 30, 60, 4
COST = 20.0, 80.0  # nats, uniform: from a takeover in every few steps to none
LOG_SCALE = math.log(6.0), 0.25  # normal
MARGIN = 10.0, 25.0  # c_on − c_off, nats, uniform
DELAY = 2.0, 8.0  # median, steps, uniform
START = {"cost": 30.0, "scale": 5.0}
MODELS: dict[str, TimingModel] = {
    "memoryless": Memoryless(),
    "sticky": Sticky(release_cost=20.0),
    "delayed": Delayed(release_cost=20.0, median_delay=4.0, longest_delay=20),
}
CHECKED = 4  # people whose intervals are computed
PARAMETERS = ("cost", "scale", "release_cost", "median_delay")
COLUMNS = ("model", "person", "onsets", *PARAMETERS, *(f"{name}_ratio" for name in PARAMETERS))
FEW = (0, 1, 5, 20, 100, ATTEMPTS * STEPS)  # edges of groups by onsets


def states_of_attempts() -> Gap:
    """Return the gap in the states of all attempts, `[ATTEMPTS, STEPS]`."""
    human, robot, mental_model = (load_policy(f"lunarlander/{name}") for name in ("expert", "initial", "mental_model"))
    steps = collect_episodes(make_env("lunarlander", num_envs=4), robot, ATTEMPTS, seed=SEED)
    rows, _ = attempt_rows(steps)
    observation = steps["observation"][rows[:, : STEPS * EVERY : EVERY]]
    with torch.no_grad():
        return Gap(human(observation), mental_model(observation), START["scale"])


def person(model: str, generator: np.random.Generator) -> dict[str, float]:
    """Return the parameters of one person."""
    parameters = {"cost": generator.uniform(*COST), "scale": math.exp(generator.normal(*LOG_SCALE))}
    margin, delay = generator.uniform(*MARGIN), generator.uniform(*DELAY)
    if model != "memoryless":
        parameters["release_cost"] = parameters["cost"] - margin
    if model == "delayed":
        parameters["median_delay"] = delay
    return parameters


def simulate(timing: Any, gap: FixedGap, cost: float, chance: np.ndarray) -> Attempts:
    """Return what a person does, decided step by step, with uniform random numbers `[ATTEMPTS, STEPS]`."""
    state, decisions = timing.begin(torch.Size([ATTEMPTS])), []
    nothing = torch.zeros(ATTEMPTS)  # executed actions, which none of the models needs
    for step in range(STEPS):
        now: Any = replace(gap, values=gap.values[:, step], log_weights=gap.log_weights[:, step])
        (_, log_prob), state = timing.decide(state, now, cost)
        intervened = torch.from_numpy(chance[:, step]) < log_prob.exp()
        state = timing.after(state, now, intervened, nothing)
        decisions.append(intervened)
    intervened = torch.stack(decisions, 1)
    return Attempts(intervened, torch.ones_like(intervened))


def study(model: str, people: int, gap: Gap) -> Iterable[dict[str, Any]]:
    """Yield a row for each person: their parameters, and the likelihood ratio of each."""
    fixed = fixed_gap(gap, START["scale"])
    begin = time.process_time()
    for number in range(people):
        generator = np.random.default_rng((SEED, list(MODELS).index(model), number))
        truth = person(model, generator)
        start = MODELS[model]
        fields = {name: value for name, value in truth.items() if name not in START}
        timing: Any = replace(start, **fields) if fields else start  # pyright: ignore
        attempts = simulate(timing, fixed.at(truth["scale"]), truth["cost"], generator.random((ATTEMPTS, STEPS)))

        search = HumanSearch(HumanLikelihood(gap, attempts, start, **START))
        row: dict[str, Any] = {"model": model, "person": number, "onsets": int(takeovers(attempts).sum())}
        ratios = likelihood_ratios(search, truth)
        for name, value in truth.items():
            row[name] = f"{value:.3f}"
            row[f"{name}_ratio"] = f"{ratios[name]:.3f}"
        if number < CHECKED:
            check(search, truth, ratios)
        if number % 100 == 0:
            print(f"{model}: {number} people, {time.process_time() - begin:.0f} s", file=sys.stderr, flush=True)
        yield row


def likelihood_ratios(search: HumanSearch, truth: dict[str, float]) -> dict[str, float]:
    """Return the likelihood ratio of each parameter's true value; 0 of one that the attempts say nothing of."""
    ratios, level = dict.fromkeys(truth, 0.0), -math.inf
    while search.largest > level + BETTER:  # anew if a profile has led to a larger likelihood
        level = search.largest
        for name, value in truth.items():
            if not search.knows_nothing_of(name):  # a profile from the estimate alone may end in another maximum
                profiles = [search.ratio(name, value, start)[0] for start in (search.best, truth)]
                ratios[name] = max(min(profiles), 0.0)
    return ratios


def check(search: HumanSearch, truth: dict[str, float], ratios: dict[str, float]) -> None:
    """Say where an interval and the likelihood ratio of the truth disagree."""
    for name, value in truth.items():
        low, high = search.interval(name)
        if (low <= value <= high) != (ratios[name] <= LIKELIHOOD_RATIO):
            print(f"{name} {value:.3f}: interval {low:.3f} to {high:.3f}, but ratio {ratios[name]:.3f}", flush=True)


def report(rows: list[dict[str, Any]]) -> None:
    """Print the share of intervals that cover the truth, of all people and by onsets."""
    model = rows[0]["model"]
    onsets = np.array([row["onsets"] for row in rows])
    groups = [("all", np.ones(len(rows), bool))]
    for low, high in itertools.pairwise(FEW):
        label = f"{low} to {high - 1} onsets" if low else "no onset"
        groups.append((label, (onsets >= low) & (onsets < high)))
    for label, where in groups:
        if not where.any():
            continue
        shares = []
        for name in PARAMETERS:
            if f"{name}_ratio" in rows[0]:
                ratio = np.array([float(row[f"{name}_ratio"]) for row in rows])[where]
                shares.append(f"{name} {100 * (ratio <= LIKELIHOOD_RATIO).mean():.1f} %")
        print(f"{model}, {label}: {where.sum()} people; {', '.join(shares)}", flush=True)


def main() -> None:
    """Print coverage, and write a row for each person."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--file", type=Path, default=Path("docs/results/data/coverage.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    gap = states_of_attempts()

    everything = []
    for model in arguments.model or MODELS:
        rows = []
        for row in study(model, arguments.people, gap):
            rows.append(row)
            if len(rows) in (arguments.people, arguments.people // 2):
                report(rows)
                write_csv(arguments.file, COLUMNS, everything + rows)
        everything += rows


if __name__ == "__main__":
    main()
