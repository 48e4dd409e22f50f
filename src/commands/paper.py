"""Run the paper's comparison: every run of `mile.plans.paper`, several at a time; finished runs are skipped.

mile-paper outputs/paper
"""

import argparse
import graphlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from mile.plans.evidence import Evidence
from mile.plans.paper import Paper, quick
from mile.plans.runs import Job
from mile.report import report
from mile.running.command_line import one_line_errors, override

PLANS = {"paper": Paper, "quick": quick, "evidence": Evidence}


def run(jobs: list[Job], folder: Path, processes: int) -> list[Job]:
    """Run the jobs that are not finished, in order where their needs allow it, and return those that failed."""
    left = {job.name: job for job in unfinished(jobs, folder)}
    order = {name: place for place, name in enumerate(left)}
    sorter = graphlib.TopologicalSorter({})
    for name, job in left.items():
        sorter.add(name, *[needed for needed in job.needs if needed in left])
    sorter.prepare()

    ready, failed, running = [], [], {}
    expected = elapsed = 0.0
    with ThreadPoolExecutor(processes) as pool:
        while sorter.is_active() or running:
            # start as many as there are processes
            ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
            while ready and len(running) < processes:
                name = ready.pop(0)
                running[pool.submit(_run_one, left[name], folder)] = name
            if not running:
                break  # the rest needs a job that has failed

            # wait for the next to end
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                job = left.pop(name)
                if future.exception() is None:
                    elapsed, expected = elapsed + future.result() / 60, expected + job.minutes
                    sorter.done(name)
                else:
                    failed.append(job)
                pace = elapsed / expected if expected else 1.0
                outcome = "FAILED" if job in failed else "done"
                hours = pace * _hours(left.values(), processes)
                print(f"{time.strftime('%H:%M')} {name}: {outcome}; {len(left)} left, about {hours:.1f} h", flush=True)
    return failed


def unfinished(jobs: Iterable[Job], folder: Path) -> list[Job]:
    """Return the jobs that have no results yet."""
    return [job for job in jobs if not (folder / job.name / job.result).exists()]


def _hours(jobs: Iterable[Job], processes: int) -> float:
    return sum(job.minutes for job in jobs) / 60 / processes


def _run_one(job: Job, folder: Path) -> float:
    """Run a job with its output in log.txt in its folder, and return the seconds that it took."""
    place, begin = folder / job.name, time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        # -P: a file of the working directory must not stand in the place of a package
        command = [sys.executable, "-P", "-m", job.module, *job.overrides, override("hydra.run.dir", place)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=True)
    return time.monotonic() - begin


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mile-paper", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--plan", choices=PLANS, default="paper", help="the paper's figures, a small part, or all learners"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--only", default="", help="runs whose name contains this, and what they need")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    return parser


def choose(jobs: Iterable[Job], part: str) -> list[Job]:
    """Return the jobs whose name contains a text, and those that they need.

    Raises:
        ValueError: There is no such job.
    """
    by_name = {job.name: job for job in jobs}
    wanted = [name for name in by_name if part in name]
    if not wanted:
        raise ValueError(f"no run has '{part}' in its name; --list prints them all")
    for name in wanted:
        wanted += [needed for needed in by_name[name].needs if needed not in wanted]
    return [job for name, job in by_name.items() if name in wanted]


@one_line_errors
def main() -> None:
    """Parse the command line, run, and report."""
    arguments = _parser().parse_args()
    if arguments.processes < 1:
        raise ValueError(f"--processes must be at least 1, got {arguments.processes}")
    folder = arguments.folder.absolute()
    jobs = choose(PLANS[arguments.plan](folder), arguments.only)
    if arguments.list:
        for job in jobs:
            print(shlex.join([job.program, *job.overrides, override("hydra.run.dir", folder / job.name)]))
        return

    # run
    left = unfinished(jobs, folder)
    hours = _hours(left, arguments.processes)
    print(
        f"{len(jobs)} runs, {len(left)} of them to do, {arguments.processes} at a time: about {hours:.1f} h", flush=True
    )
    failed = run(jobs, folder, arguments.processes)

    # report
    troubles = []
    if failed:
        places = ", ".join(str(folder / job.name) for job in failed)
        troubles.append(f"{len(failed)} of {len(jobs)} runs failed; see log.txt in {places}")
    try:
        for path in report([folder], folder / "report"):
            print(path)
    except ValueError as error:
        troubles.append(str(error))
    if troubles:
        sys.exit(f"error: {'; '.join(troubles)}")


if __name__ == "__main__":
    main()
