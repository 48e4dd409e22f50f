"""The paper's comparison: every run of `mile.reports.plan`, several at a time; what is finished is skipped.

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

from mile.report import report
from mile.reports.plan import Job, Plan, quick
from mile.running.command_line import one_line_errors, override


def run(jobs: list[Job], folder: Path, processes: int) -> list[Job]:
    """Run the jobs that are not finished, in order where what they need allows it; return those that failed."""
    left = {job.name: job for job in unfinished(jobs, folder)}
    sorter = graphlib.TopologicalSorter({name: [it for it in job.needs if it in left] for name, job in left.items()})
    sorter.prepare()
    order = {name: place for place, name in enumerate(left)}
    ready, failed, running = [], [], {}
    expected = taken = 0.0
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
                if future.exception() is None:
                    taken, expected = taken + future.result() / 60, expected + job.minutes
                    sorter.done(name)
                else:
                    failed.append(job)
                pace = taken / expected if expected else 1.0
                print(
                    f"{time.strftime('%H:%M')} {name}: {'FAILED' if job in failed else 'done'}; {len(left)} left, "
                    f"about {pace * _hours(left.values(), processes):.1f} h",
                    flush=True,
                )
    return failed


def unfinished(jobs: Iterable[Job], folder: Path) -> list[Job]:
    """Return the jobs that have no results yet."""
    return [job for job in jobs if not (folder / job.name / "results.json").exists()]


def _hours(jobs: Iterable[Job], processes: int) -> float:
    return sum(job.minutes for job in jobs) / 60 / processes


def _run_one(job: Job, folder: Path) -> float:
    """Return the seconds that a run took; its output goes into log.txt in its folder."""
    place, begin = folder / job.name, time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    with (place / "log.txt").open("a") as log:
        # -P: a file of the working directory must not stand in the place of a package
        command = [sys.executable, "-P", "-m", "mile.train", *job.overrides, override("hydra.run.dir", place)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment, check=True)
    return time.monotonic() - begin


@one_line_errors
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
    jobs = {job.name: job for job in (quick if given.quick else Plan)(folder)}
    wanted = [name for name in jobs if given.only in name]
    if not wanted:
        raise ValueError(f"no run has '{given.only}' in its name; --list prints them all")
    if given.processes < 1:
        raise ValueError(f"--processes must be at least 1, got {given.processes}")
    for name in wanted:
        wanted += [needed for needed in jobs[name].needs if needed not in wanted]
    chosen = [job for name, job in jobs.items() if name in wanted]
    if given.list:
        for job in chosen:
            print(shlex.join(["mile-train", *job.overrides, override("hydra.run.dir", folder / job.name)]))
        return
    left = unfinished(chosen, folder)
    print(
        f"{len(chosen)} runs, {len(left)} of them to do, {given.processes} at a time: about "
        f"{_hours(left, given.processes):.1f} h",
        flush=True,
    )
    failed = run(chosen, folder, given.processes)
    where = ", ".join(str(folder / job.name) for job in failed)
    troubles = [f"{len(failed)} of {len(chosen)} runs failed; see log.txt in {where}"] if failed else []
    try:
        for path in report([folder], folder / "report"):
            print(path)
    except ValueError as error:
        troubles.append(str(error))
    if troubles:
        sys.exit(f"error: {'; '.join(troubles)}")


if __name__ == "__main__":
    main()
