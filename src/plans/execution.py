"""Runs the jobs of a plan, several at a time: on this machine, or on those of a Ray cluster."""

import graphlib
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mile.plans.runs import Job
from mile.running.command_line import override

PROMPT = "$ "  # before the command of each attempt in log.txt
Submit = Callable[[Job], Future[float]]  # starts a job, and promises the seconds that it takes


class Player(NamedTuple):
    """Where jobs run.

    Attributes:
        submit: Function that starts a job.
        processes: Number of jobs at a time.
    """

    submit: Submit
    processes: int


@contextmanager
def here(folder: Path, processes: int) -> Iterator[Player]:
    """Run jobs as processes on this machine; whatever stops this program stops them, and they can go on later."""
    started: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(processes) as pool:
        try:
            yield Player(lambda job: pool.submit(run_one, job, folder, started), processes)
        except BaseException:
            for process in started:
                process.terminate()
            raise


@contextmanager
def on_ray(folder: Path) -> Iterator[Player]:
    """Run jobs as tasks of a Ray cluster that was started before (`ray start --head`); one for each of its CPUs.

    Each machine needs this package, and the folder under the same path.

    Raises:
        ValueError: There is no cluster.
    """
    import ray

    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ValueError(f"no Ray cluster to run on ({error}); start one: ray start --head") from None

    # a file that each machine must see
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / f".shared-{uuid.uuid4().hex}"
    token.touch()
    task: Any = ray.remote(num_cpus=1)(_run_where_shared)
    try:
        yield Player(lambda job: task.remote(job, folder, token).future(), int(ray.cluster_resources()["CPU"]))
    finally:
        token.unlink()
        ray.shutdown()


def _run_where_shared(job: Job, folder: Path, token: Path) -> float:
    """Run a job, on a machine that sees the folder of all."""
    if not token.exists():
        raise ValueError(f"'{folder}' on {platform.node()} is another one; give a folder that all machines share")
    return run_one(job, folder, [])


def run_one(job: Job, folder: Path, started: list[subprocess.Popen[bytes]]) -> float:
    """Run a job with its command and output at the end of log.txt in its folder.

    Args:
        job: The job.
        folder: Folder of all jobs.
        started: List that the process is added to.

    Returns:
        The seconds that it took.

    Raises:
        CalledProcessError: It failed.
    """
    place, begin = folder / job.name, time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    # -P: a file of the working directory must not stand in the place of a package
    command = [sys.executable, "-P", "-m", job.module, *job.overrides, override("hydra.run.dir", place)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (place / "log.txt").open("a") as log:
        print(PROMPT + shlex.join(command), file=log, flush=True)
        # a session of its own: Ctrl-C reaches it by `here`, once
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
        started.append(process)
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, command)
    return time.monotonic() - begin


class Failure(NamedTuple):
    """A job that has no results.

    Attributes:
        job: The job.
        reason: Why it failed, or what it needs.
        has_run: Whether it was tried.
    """

    job: Job
    reason: str
    has_run: bool


def run(jobs: Iterable[Job], folder: Path, player: Player) -> list[Failure]:
    """Run the jobs that are not finished, in order where their needs allow it.

    Returns:
        Those that failed, and those that were not run because of these.
    """
    left = {job.name: job for job in unfinished(jobs, folder)}
    order = {name: place for place, name in enumerate(left)}
    sorter = graphlib.TopologicalSorter({})
    for name, job in left.items():
        sorter.add(name, *[needed for needed in job.needs if needed in left])
    sorter.prepare()

    ready: list[str] = []
    failures: list[Failure] = []
    running: dict[Future[float], str] = {}
    pace = Pace()
    while sorter.is_active() or running:
        # start as many as there are processes
        ready = sorted([*ready, *sorter.get_ready()], key=order.__getitem__)
        while ready and len(running) < player.processes:
            name = ready.pop(0)
            running[player.submit(left[name])] = name
        if not running:
            break  # the rest needs a job that has failed

        # wait for the next to end
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            name = running.pop(future)
            job = left.pop(name)
            error = future.exception()
            if error is None:
                pace.add(job, future.result() / 60)
                sorter.done(name)
            else:
                failures.append(Failure(job, _reason(error, folder / job.name / "log.txt"), has_run=True))
            outcome = "done" if error is None else "FAILED"
            rest = pace.hours(left.values(), player.processes)
            print(f"{time.strftime('%H:%M')} {name}: {outcome}; {len(left)} left, about {rest:.1f} h", flush=True)

    # what needs a job that has failed
    missing = {failure.job.name for failure in failures} | left.keys()
    for job in left.values():
        lacking = ", ".join(needed for needed in job.needs if needed in missing)
        failures.append(Failure(job, f"needs {lacking}", has_run=False))
    return failures


@dataclass
class Pace:
    """How long finished jobs took, and how long the others take if they go on like this.

    Attributes:
        elapsed: Duration of the finished jobs, min.
        expected: Duration that was expected of them, min.
    """

    elapsed: float = 0.0
    expected: float = 0.0

    def add(self, job: Job, minutes: float) -> None:
        """Count a job that has finished."""
        self.elapsed += minutes
        self.expected += job.minutes

    def hours(self, jobs: Iterable[Job], processes: int) -> float:
        """Return how long other jobs take, h."""
        ratio = self.elapsed / self.expected if self.expected else 1.0
        return ratio * hours(jobs, processes)


def _reason(error: BaseException, log: Path) -> str:
    """Return why a job failed: the last line that it said, or what kept it from running."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    for line in reversed(lines):
        if line.startswith(PROMPT):  # what is above is of an earlier attempt
            break
        if isinstance(error, subprocess.CalledProcessError) and line.startswith("error: "):
            return line.removeprefix("error: ")
    return str(error).strip().split("\n")[-1]


def unfinished(jobs: Iterable[Job], folder: Path) -> list[Job]:
    """Return the jobs that have no results yet."""
    return [job for job in jobs if not (folder / job.name / job.result).exists()]


def hours(jobs: Iterable[Job], processes: int) -> float:
    """Return how long jobs take, h."""
    return sum(job.minutes for job in jobs) / 60 / processes
