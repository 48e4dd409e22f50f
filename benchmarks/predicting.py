"""Fig. 7 in time: who predicts the next round's interventions of a human who lives in time?

python benchmarks/predicting.py [--table] [--search]

Simulated people, sticky and delayed, supervise the initial policy of LunarLander and of Drawer-Open, which does not
learn: five rounds of five attempts. Every estimator learns from the rounds before, and predicts the interventions of
the next one: online (ν of the steps before is known) and free-running (a whole attempt without any ν of it, along the
states that were recorded). The rows go to docs/results/data/predicting.csv; seeds that are there already are left out.

The models of the human, each with its timing:

* "given": the person's own timing, cost, scale and policies. Nobody can know them: an oracle. "memoryless, given" has
  the person's cost of taking over, scale and policies.
* "learnt": the person's own policies are given; cost, scale, release cost and median delay are learnt by maximum
  likelihood. Half an oracle.
* "policies learnt": what a learner could know. The policy is a clone of the actions that were shown so far, the mental
  model a clone of three rollouts of the robot, and the parameters are learnt as above, given these two.

What counts as a win was set before the first run: A is better than B for a person if the held-out log-likelihood per
step, the mean of rounds 2 to 5, is higher in A, paired by seed, and the 95 % Student-t interval of the difference over
the seeds excludes 0. All other metrics are reported and decide nothing. The people's costs were chosen once, by
`--search`, for about 20 % of steps with ν=1.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.ingredients.cloning import clone_policy, clone_rollouts
from mile.policies import Policy, load_policy
from mile.recordings.history import AsBefore, Estimator, HistoryNetwork, InTime, WithoutMemory, free_running, online
from mile.recordings.prediction import as_often, learnt_from, never, prediction_metrics
from mile.reports.csv_tables import write_csv
from mile.reports.intervals import standard_error
from mile.running.command_line import one_line_errors
from mile.timing import Attempts, Delayed, Gap, Memoryless, Sticky, TimingModel, fit_human
from mile.timing.attempts import attempt_rows

ROWS = Path(__file__).parents[1] / "docs" / "results" / "data" / "predicting.csv"
SEEDS, ROUNDS, ATTEMPTS = range(5), 5, 5
METRICS = ("log_likelihood", "accuracy", "balanced_accuracy", "auc", "brier")
COLUMNS = ("task", "person", "seed", "round", "estimator", "mode", "steps", "ratio", *METRICS)
DELAY = {"median_delay": 8.0, "longest_delay": 20}  # steps


class Person(NamedTuple):
    """Parameters of a simulated person: c_on and σ, nats, and the timing."""

    task: str
    name: str
    cost: float
    scale: float
    timing: TimingModel


PEOPLE = (
    Person("lunarlander", "sticky", 17.0, 4.0, Sticky(release_cost=0.0)),
    Person("lunarlander", "delayed", 14.0, 4.0, Delayed(release_cost=0.0, **DELAY)),
    Person("drawer_open", "sticky", 37.0, 5.0, Sticky(release_cost=10.0)),
    Person("drawer_open", "delayed", 22.0, 5.0, Delayed(release_cost=10.0, **DELAY)),
)
CONTRASTS = (
    ("own model, learnt", "network with history"),
    ("own model, learnt", "network with history, 100 updates"),
    ("own model, learnt", "memoryless, learnt"),
    ("own model, given", "own model, learnt"),
    ("own model, policies learnt", "network with history"),
    ("own model, policies learnt", "network with history, 100 updates"),
    ("own model, policies learnt", "as before"),
    ("own model, policies learnt", "memoryless, policies learnt"),
    ("network with history", "network"),
    ("own model, learnt", "as before"),
    ("network with history", "as before"),
)


def gap_of(policy: Policy, mental_model: Policy, scale: float, steps: TensorDictBase) -> Gap:
    return Gap(policy.at(steps), mental_model.at(steps), scale)


@torch.no_grad()
def learnt(timing: TimingModel, policy: Policy, mental_model: Policy, earlier: TensorDictBase) -> Estimator:
    """Return a model in time whose parameters are learnt from earlier rounds, given both policies."""
    rows, valid = attempt_rows(earlier)
    gap = gap_of(policy, mental_model, 1.0, earlier[rows])
    attempts = Attempts(earlier["intervened"][rows], valid)

    # begin with the calibration's scale, and a cost that a fifth of the states is worth
    expected = gap.expected()[valid]
    low, high, cost = expected.quantile(expected.new_tensor([0.25, 0.75, 0.8])).tolist()
    scale = max(0.25 * (high - low), 0.1)
    if isinstance(timing, Sticky):
        timing = replace(timing, release_cost=cost - 4 * scale)
    if isinstance(timing, Delayed):
        timing = replace(timing, median_delay=3.0)
    human = fit_human(gap, attempts, timing, cost, scale, intervals=False)
    return InTime(human.timing, partial(gap_of, policy, mental_model, human.scale), human.cost)


class Bench:
    """A task: its environment and policies, and the mental model that a learner has of the robot.

    Args:
        task: Name of the environment.
        seed: Seed of the learner's three rollouts.
    """

    def __init__(self, task: str, seed: int) -> None:
        self.env = make_env(task, num_envs=ATTEMPTS)
        self.expert, self.mental_model, self.initial = (
            load_policy(f"{task}/{name}", environment=task) for name in ("expert", "mental_model", "initial")
        )
        torch.manual_seed(seed)
        student = make_policy(self.env, hidden_dims=self.initial.architecture["hidden_dims"])
        self.watched, _ = clone_rollouts(
            self.env, self.initial, student, num_episodes=3, steps=1000, seed=3000000 + seed
        )

    def record(self, person: Person, seed: int, episodes: int = ROUNDS * ATTEMPTS) -> TensorDictBase:
        """Return recorded steps of a person; `round` begins with 0."""
        human = SimulatedHuman(self.expert, self.mental_model, person.cost, person.scale, timing=person.timing)
        supervised = TransformedEnv(self.env, InterventionTransform(human))
        steps = collect_episodes(supervised, self.initial, episodes, seed=seed)
        return steps.set("round", steps["episode"] // ATTEMPTS)

    def clone(self, earlier: TensorDictBase, seed: int) -> Policy:
        """Return a clone of the actions that were shown so far."""
        policy, intervened = deepcopy(self.initial), earlier["intervened"]
        shown: Any = earlier[intervened]
        clone_policy(policy, shown, shown["human_action"], steps=500, seed=seed)
        return policy.double()

    def estimators(self, person: Person, earlier: TensorDictBase, seed: int) -> Iterator[tuple[str, Estimator]]:
        """Yield every estimator, with its name, that has learnt from earlier rounds."""
        # that know no model of the human
        yield "never", WithoutMemory(never)
        yield "as often", WithoutMemory(partial(as_often, earlier))
        yield "as before", AsBefore(earlier)
        yield "network", WithoutMemory(partial(learnt_from, earlier, seed=seed))
        yield "network with history", HistoryNetwork(earlier, seed=seed)
        yield "network with history, 100 updates", HistoryNetwork(earlier, updates=100, seed=seed)

        # with the person's own policies
        expert, mental_model = deepcopy(self.expert).double(), deepcopy(self.mental_model).double()
        true_gap = partial(gap_of, expert, mental_model, person.scale)
        yield "own model, given", InTime(person.timing, true_gap, person.cost)
        yield "memoryless, given", InTime(Memoryless(), true_gap, person.cost)
        timings = {"sticky": Sticky(release_cost=0.0), "delayed": Delayed(release_cost=0.0, **DELAY)}
        own = timings.pop(person.name)
        (other_name, other) = timings.popitem()
        yield "own model, learnt", learnt(own, expert, mental_model, earlier)
        yield f"{other_name}, learnt", learnt(other, expert, mental_model, earlier)
        yield "memoryless, learnt", learnt(Memoryless(), expert, mental_model, earlier)

        # with what a learner could know
        policy, watched = self.clone(earlier, seed), deepcopy(self.watched).double()
        yield "own model, policies learnt", learnt(own, policy, watched, earlier)
        yield "memoryless, policies learnt", learnt(Memoryless(), policy, watched, earlier)


def rows_of(bench: Bench, person: Person, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each round but the first, estimator and mode."""
    recorded = bench.record(person, 2000000 + seed)
    for number in range(1, ROUNDS):
        earlier, steps = recorded[recorded["round"] < number], recorded[recorded["round"] == number]
        intervened = steps["intervened"]
        facts = {"task": person.task, "person": person.name, "seed": seed, "round": number + 1, "steps": len(steps)}
        facts["ratio"] = round(float(intervened.double().mean()), 6)
        for name, estimator in bench.estimators(person, earlier, seed):
            for mode, prob in predictions(estimator, steps, seed).items():
                metrics = prediction_metrics(prob, intervened)
                rounded = {key: round(metrics[key], 6) if key in metrics else "" for key in METRICS}
                yield {**facts, "estimator": name, "mode": mode, **rounded}


def predictions(estimator: Estimator, steps: TensorDictBase, seed: int) -> dict[str, Tensor]:
    """Return the predictions of a round by mode; without a memory, they are the same."""
    prob = online(estimator, steps)
    if isinstance(estimator, WithoutMemory):
        return {"online": prob, "free-running": prob}
    return {"online": prob, "free-running": free_running(estimator, steps, seed=seed)}


# tables


def means(rows: list[dict[str, Any]]) -> dict[tuple[str, ...], dict[str, list[float]]]:
    """Return the mean over rounds of each metric, by (task, person, mode, estimator), in the order of the seeds."""
    by_seed: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for metric in METRICS:
            if row[metric] != "":
                key = (row["task"], row["person"], row["mode"], row["estimator"], row["seed"])
                by_seed[key][metric].append(float(row[metric]))

    result: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (*key, _), metrics in sorted(by_seed.items(), key=lambda item: int(item[0][-1])):
        for metric, values in metrics.items():
            result[tuple(key)][metric].append(float(np.mean(values)))
    return result


def tables(rows: list[dict[str, Any]]) -> str:
    """Return the means ± s.e. over seeds as Markdown, and the paired differences of the log-likelihood."""
    values, lines = means(rows), []
    for task, person, mode in dict.fromkeys(key[:3] for key in values):
        names = [key[3] for key in values if key[:3] == (task, person, mode)]
        lines += ["", f"### {task}, {person}, {mode}", "", f"| estimator | {' | '.join(METRICS)} |"]
        lines.append(f"|{'---|' * (1 + len(METRICS))}")
        for name in names:
            cells = []
            for metric in METRICS:
                scores = values[task, person, mode, name][metric]
                cells.append(f"{np.mean(scores):.3f} ± {standard_error(scores):.3f}" if scores else "–")
            lines.append(f"| {name} | {' | '.join(cells)} |")

        # differences
        lines += ["", "| log-likelihood per step of | over that of | difference [95 %] |", "|---|---|---|"]
        for first, second in CONTRASTS:
            pair = [values[task, person, mode, name]["log_likelihood"] for name in (first, second)]
            difference = np.subtract(*pair)
            half = stats.t.ppf(0.975, len(difference) - 1) * standard_error(difference)
            mean = difference.mean()
            lines.append(f"| {first} | {second} | {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}] |")
    return "\n".join(lines)


def search() -> None:
    """Print how often people of several costs intervene, and how long a takeover lasts."""
    for person in PEOPLE:
        bench = Bench(person.task, 0)
        for factor in (0.7, 0.85, 1.0, 1.2, 1.5):
            steps = bench.record(person._replace(cost=factor * person.cost), 1000000, 20)
            intervened = steps["intervened"]
            begins = intervened & ~torch.cat([intervened.new_zeros(1), intervened[:-1]])
            ratio, length = float(intervened.double().mean()), float(intervened.sum() / begins.sum())
            print(
                f"{person.task}, {person.name}: cost {factor * person.cost:.1f}, ratio {ratio:.3f}, {length:.1f} steps"
            )


def read_rows() -> list[dict[str, Any]]:
    """Return the rows that are there; numbers are numbers."""
    if not ROWS.exists():
        return []
    with ROWS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in ("seed", "round", "steps"):
            row[name] = int(row[name])
        for name in ("ratio", *METRICS):
            row[name] = float(row[name]) if row[name] else ""
    return rows


@one_line_errors
def main() -> None:
    """Predict for every person and seed, write the rows, and print the tables."""
    parser = argparse.ArgumentParser(description="Predictions of the interventions of humans who live in time.")
    parser.add_argument("--table", action="store_true", help="print the tables of the rows that are there")
    parser.add_argument("--search", action="store_true", help="try costs of the people")
    arguments = parser.parse_args()
    if arguments.search:
        search()
        return

    rows = read_rows()
    if not arguments.table:
        done = {(row["task"], row["person"], row["seed"]) for row in rows}
        for seed in SEEDS:
            for person in PEOPLE:
                if (person.task, person.name, seed) not in done:
                    print(f"{person.task}, {person.name}, seed {seed} …", flush=True)
                    rows += rows_of(Bench(person.task, seed), person, seed)
                    write_csv(ROWS, COLUMNS, rows)
    print(tables(rows))


if __name__ == "__main__":
    main()
