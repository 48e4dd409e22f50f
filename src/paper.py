"""The paper's comparison: every run of Fig. 3, 4 and 5, several at a time; what is finished is skipped.

mile-paper outputs/paper
"""

import argparse
import graphlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mile.report import report

TASKS = ("lunarlander", "button_press", "drawer_open", "peg_insert")
ITERATIVE = ("drawer_open", "peg_insert")
CLONING = ("bc_intervention", "hg_dagger", "iwr", "sirius")
ITERATIVE_RATE = 1e-4  # ours, of all cloning methods and MILE: no search was made in rounds
RATES = {  # ours: docs/results.md, "Learning rates"
    "lunarlander": {"mile": 1e-4, "bc_intervention": 1e-4, "hg_dagger": 1e-4, "iwr": 3e-5, "sirius": 3e-5},
    "button_press": {"mile": 1e-4, "bc_intervention": 1e-4, "hg_dagger": 1e-4, "iwr": 3e-5, "sirius": 3e-5},
    "drawer_open": {"mile": 3e-5, "bc_intervention": 1e-4, "hg_dagger": 3e-5, "iwr": 3e-5, "sirius": 1e-4},
    "peg_insert": {"mile": 3e-4, "bc_intervention": 3e-5, "hg_dagger": 1e-4, "iwr": 3e-4, "sirius": 1e-4},
}
ROUNDS = 5  # Table I: of a baseline, with as many episodes in all as MILE has; up to twice that to match interventions
MINUTES = {"mile": 1.5, "cloning": 1.5, "rlif": 12.0}  # of one core, for a run of one round; measured ones replace them


@dataclass(frozen=True)
class Size:
    """How much of the paper is run.

    Attributes:
        tasks: of Fig. 3.
        iterative: tasks of Fig. 4.
        seeds: of training, the same for every method.
        epochs: of ten batches, in a single round; split over the rounds of a baseline.
        rounds: N of the iterative experiments.
        demonstrations: of the ablation.
        evaluation: episodes of the final table.
        rlif_tasks: tasks of Fig. 3 and 4 that RLIF is run on.
    """

    tasks: tuple[str, ...] = TASKS
    iterative: tuple[str, ...] = ITERATIVE
    seeds: tuple[int, ...] = (5, 6, 7, 8, 9)
    epochs: int = 150
    rounds: int = 20
    demonstrations: tuple[int, ...] = (5, 10, 15)
    evaluation: int = 100
    rlif_tasks: tuple[str, ...] = TASKS


FULL = Size()
QUICK = Size(("lunarlander", "drawer_open"), ("drawer_open",), (5, 6), 30, 3, (5,), 20, ("lunarlander",))


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: of its folder.
        overrides: of the command line.
        needs: names of the jobs that must have finished before.
        kind: key of `MINUTES`.
        weight: expected duration in units of its kind.
    """

    name: str
    overrides: tuple[str, ...]
    needs: tuple[str, ...] = ()
    kind: str = "cloning"
    weight: float = 1.0


def plan(size: Size, folder: Path) -> Iterator[Job]:
    """Yield the jobs, what matters most first.

    Every run of a task takes calibration and reference lines from the task's first one. A baseline of Fig. 3 collects
    until it has MILE's interventions of the same seed.
    """

    def job(
        experiment: str, method: str, seed: int, label: str, needs: tuple[str, ...], weight: float, *more: str
    ) -> Job:
        task = experiment.removesuffix("_iterative")
        first = f"{task}/mile/seed_{size.seeds[0]}"
        name = f"{experiment}/{method}{label}/seed_{seed}"
        rates: dict[str, float] = (
            RATES[experiment] if experiment in RATES else dict.fromkeys(("mile", *CLONING), ITERATIVE_RATE)
        )
        rate = rates.get(method.removesuffix("_silence"))
        own = [f"experiment={experiment}", f"method={method}", f"seed={seed}"]
        own += [f"method.optimizer.lr={rate}"] if rate else []
        own += ["logger=none", f"evaluation.num_episodes={size.evaluation}", *more]
        own += [f"like={folder / first}"] if name != first else []
        kind = method if method in MINUTES else "cloning"
        return Job(name, tuple(own), tuple(dict.fromkeys([*needs, first])) if name != first else (), kind, weight)

    def single(task: str, method: str, seed: int, restart: bool = False, demonstrations: int = 0) -> Job:
        ours, apart = f"{task}/mile/seed_{seed}", 1 if task == "lunarlander" else 3
        epochs = size.epochs * 2 // 15 if task == "lunarlander" else size.epochs
        one = ["callbacks.evaluation.num_episodes=1"]
        if method.startswith("mile"):
            return job(task, method, seed, "", (), 1, *one, *steps(epochs))
        matched = ["protocol=matched_interventions", f"callbacks.deployment.match={folder / ours}"]
        matched += [f"callbacks.deployment.episodes_per_round={apart}", f"data.restart={str(restart).lower()}"]
        matched += [f"demonstrations={demonstrations}", f"callbacks.deployment.num_rounds={2 * ROUNDS}"]
        label = "_restart" * restart + f"_{demonstrations}_demonstrations" * bool(demonstrations)
        length = [] if method == "rlif" else steps(epochs if restart else epochs // ROUNDS)
        return job(task, method, seed, label, (ours,), 2 if restart else 1, *one, *matched, *length)

    def offline(task: str, method: str, seed: int) -> Job:
        ours = f"{task}/mile/seed_{seed}"
        epochs = size.epochs * 2 // 15 if task == "lunarlander" else size.epochs
        more = ["callbacks.evaluation.num_episodes=1", "protocol=same_data", f"data.from={folder / ours}"]
        return job(task, method, seed, "_same_data", (ours,), 1, *more, *steps(epochs))

    def iterative(task: str, method: str, seed: int, restart: bool = False) -> Job:
        rhythm = 1 if method == "rlif" else (1500 if restart else 300)
        more = [f"callbacks.deployment.num_rounds={size.rounds}", f"data.restart={str(restart).lower()}"]
        more += [] if method == "rlif" else [f"callbacks.deployment.epochs_per_round={rhythm}"]
        more += [f"callbacks.evaluation.every_n_epochs={2 * rhythm}"]
        more += ["human.watch.num_episodes=10", "human.watch.steps=500"]
        return job(f"{task}_iterative", method, seed, "_restart" * restart, (), 4 if restart else 3, *more)

    methods, seeds = ("mile", "mile_silence", *CLONING), size.seeds
    yield from (single(task, method, seed) for seed in seeds for task in size.tasks for method in methods)
    yield from (iterative(task, method, seed) for seed in seeds for task in size.iterative for method in methods)
    yield from (offline(task, method, seed) for seed in seeds for task in size.tasks for method in CLONING)
    ablated = [(seed, count, method) for seed in seeds for count in size.demonstrations for method in CLONING]
    yield from (single("drawer_open", method, seed, demonstrations=count) for seed, count, method in ablated)
    yield from (single(task, "rlif", seed) for seed in seeds for task in size.rlif_tasks)
    yield from (iterative(task, "rlif", seed) for seed in seeds for task in size.iterative if task in size.rlif_tasks)
    yield from (iterative(task, method, seed, True) for seed in seeds for task in size.iterative for method in methods)
    yield from (single(task, method, seed, True) for seed in seeds for task in size.tasks for method in CLONING)
    if "drawer_open" in size.rlif_tasks:
        shown = [(seed, count) for seed in seeds for count in size.demonstrations]
        yield from (single("drawer_open", "rlif", seed, demonstrations=count) for seed, count in shown)


def steps(epochs: int) -> list[str]:
    """Return the overrides for so many epochs of ten batches a round."""
    return [f"callbacks.deployment.epochs_per_round={epochs}", "data.batches_per_epoch=10"]


def run(jobs: list[Job], folder: Path, processes: int) -> list[Job]:
    """Run the jobs that are not finished, in order where what they need allows it; return those that failed."""
    done = {job.name for job in jobs if (folder / job.name / "results.json").exists()}
    left = {job.name: job for job in jobs if job.name not in done}
    spent: dict[str, list[float]] = {kind: [minutes] for kind, minutes in MINUTES.items()}
    sorter = graphlib.TopologicalSorter(
        {job.name: [name for name in job.needs if name in left] for job in left.values()}
    )
    sorter.prepare()
    order = {name: place for place, name in enumerate(left)}
    ready, failed, running = [], [], {}
    with ThreadPoolExecutor(processes) as pool:
        while sorter.is_active() or running:
            ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
            while ready and len(running) < processes:
                name = ready.pop(0)
                running[pool.submit(_run_one, left[name], folder)] = name
            if not running:
                break  # the rest needs what has failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                job = left.pop(name)
                if _ok(future):
                    spent[job.kind].append(future.result() / 60 / job.weight)
                    sorter.done(name)
                else:
                    failed.append(job)
                remaining = (
                    sum(sum(spent[it.kind]) / len(spent[it.kind]) * it.weight for it in left.values()) / processes
                )
                print(
                    f"{time.strftime('%H:%M')} {name}: {'done' if job not in failed else 'FAILED'}; {len(left)} left, "
                    f"about {remaining / 60:.1f} h",
                    flush=True,
                )
    return failed


def _ok(future: "Future[float]") -> bool:
    return future.exception() is None


def _run_one(job: Job, folder: Path) -> float:
    """Return the seconds that a run took; its output goes into log.txt in its folder."""
    place, begin = folder / job.name, time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "mile.train", *job.overrides, f"hydra.run.dir={place}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=True)
    return time.monotonic() - begin


def main() -> None:
    """Parse the command line, run, and report."""
    parser = argparse.ArgumentParser("mile-paper", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small part of it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--only", default="", help="runs whose name contains this, and what they need")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    given = parser.parse_args()
    folder = given.folder.absolute()
    jobs = {job.name: job for job in plan(QUICK if given.quick else FULL, folder)}
    wanted = [name for name in jobs if given.only in name]
    for name in wanted:
        wanted += [needed for needed in jobs[name].needs if needed not in wanted]
    chosen = [job for name, job in jobs.items() if name in wanted]
    if given.list:
        print("\n".join(f"mile-train {' '.join(job.overrides)} hydra.run.dir={folder / job.name}" for job in chosen))
        return
    left = [job for job in chosen if not (folder / job.name / "results.json").exists()]
    hours = sum(MINUTES[job.kind] * job.weight for job in left) / 60 / given.processes
    print(
        f"{len(chosen)} runs, {len(left)} of them to do, {given.processes} at a time: about {hours:.1f} h", flush=True
    )
    failed = run(chosen, folder, given.processes)
    for path in report([folder], folder / "report"):
        print(path)
    if failed:
        sys.exit(
            f"error: {len(failed)} runs failed; see log.txt in {', '.join(str(folder / job.name) for job in failed)}"
        )


if __name__ == "__main__":
    main()
