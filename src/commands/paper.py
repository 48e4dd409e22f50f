"""Run the paper's comparison: every run of `mile.plans.paper`, several at a time; finished runs are skipped.

mile-paper outputs/paper
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mile.plans.evidence import Evidence
from mile.plans.execution import Failure, here, hours, on_ray, run, unfinished
from mile.plans.paper import Paper, quick
from mile.plans.runs import Job
from mile.report import report
from mile.running.command_line import one_line_errors, override

PLANS = {"paper": Paper, "quick": quick, "evidence": Evidence}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mile-paper", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--plan", choices=PLANS, default="paper", help="the paper's figures, a small part, or all learners"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="runs at a time")
    parser.add_argument("--ray", action="store_true", help="on a Ray cluster that was started before, one a CPU")
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
    with on_ray(folder) if arguments.ray else here(folder, arguments.processes) as player:
        rest = hours(left, player.processes)
        how = f"{player.processes} at a time: about {rest:.1f} h"
        print(f"{len(jobs)} runs, {len(left)} of them to do, {how}", flush=True)
        failures = run(jobs, folder, player)

    # report
    troubles = []
    if failures:
        _print_failures(failures)
        failed = sum(failure.has_run for failure in failures)
        troubles.append(f"{failed} of {len(jobs)} runs failed, {len(failures) - failed} were not run; see the table")
    try:
        for path in report([folder], folder / "report"):
            print(path)
    except ValueError as error:
        troubles.append(str(error))
    if troubles:
        sys.exit(f"error: {'; '.join(troubles)}")


def _print_failures(failures: Iterable[Failure]) -> None:
    """Print what failed and what was not run, and why."""
    table = Table("run", "outcome", "why, and more in its log.txt", title="without results")
    for job, reason, has_run in failures:
        table.add_row(job.name, "failed" if has_run else "not run", reason)
    Console().print(table, markup=False)


if __name__ == "__main__":
    main()
