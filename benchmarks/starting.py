"""Seconds that the programs take to start, each in a process of its own: medians of five.

python benchmarks/starting.py
"""

import statistics
import subprocess
import sys
import tempfile

from ratio import elapsed
from rich.console import Console
from rich.table import Table

STARTS = 5
PROGRAMS = {
    "mile-data": "mile.commands.data",
    "mile-devices": "mile.commands.devices",
    "mile-report": "mile.report",
    "mile-doctor": "mile.commands.doctor",
    "mile-train": "mile.train",
}
READY = "ready:"  # begins the line in which a run names its human and its policy, ready to act


def show_help(module: str) -> None:
    """Run a program with --help."""
    subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True)


def begin_training() -> None:
    """Start a run, wait for the line that names its human and its policy, and kill it."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-u", "-m", "mile.train", "experiment=lunarlander", f"hydra.run.dir={folder}/run"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            began = any(line.startswith(READY) for line in process.stdout)
            process.kill()

        if not began:
            errors.seek(0)
            raise RuntimeError(f"the run ended before it printed '{READY}': {errors.read()}")


def main() -> None:
    """Measure, and print a table."""
    # what to start
    starts = {}
    for name, module in PROGRAMS.items():
        starts[f"{name} --help"] = lambda module=module: show_help(module)
    starts[f"mile-train experiment=lunarlander, until '{READY}'"] = begin_training

    # measure
    table = Table("start", "median, s", "least and greatest", title=f"time to start, of {STARTS}")
    for name, start in starts.items():
        print(f"{name} …", flush=True)
        seconds = [elapsed(start) for _ in range(STARTS)]
        table.add_row(name, f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
