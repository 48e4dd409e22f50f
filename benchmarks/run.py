"""Speed as ratios within one run, because machines differ and are noisy: `make bench`.

python benchmarks/run.py [--trace trace.json]
"""

import argparse
import json
import os
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from collecting import collection, evaluation_two_over_one
from in_time import HUMANS, collection_over_memoryless, learning_over_memoryless
from learning import (
    LearningSteps,
    epoch_over_bare_loop,
    intervention_speedup,
    step_over_limit,
    step_over_limit_discrete,
    step_speedup,
)
from rich.console import Console
from rich.table import Table

from mile.running.command_line import one_line_errors

HERE = Path(__file__).parent


BENCHMARKS: dict[str, tuple[Any, str]] = {
    "intervention_speedup": (intervention_speedup, "≥ 40"),
    "step_over_limit": (step_over_limit, "≤ 1.2"),
    "step_over_limit_discrete": (step_over_limit_discrete, "≤ 1.3"),
    "step_speedup": (step_speedup, "≥ 15"),
    "epoch_over_bare_loop": (epoch_over_bare_loop, "≤ 1.6"),
    "collection_lunarlander": (partial(collection, "lunarlander"), "≥ 0.25"),
    "collection_drawer_open": (partial(collection, "drawer_open", 64, 3), "≥ 0.7"),
    "collection_drawer_open_two_workers": (partial(collection, "drawer_open", 16, 3, 2), "≥ 0.9"),
    "evaluation_two_over_one": (evaluation_two_over_one, "≥ 1.6"),
    "learning_delayed": (partial(learning_over_memoryless, "delayed"), "≤ 1.5"),
    **{
        f"collection_{human}": (partial(collection_over_memoryless, "drawer_open", human), "≥ 0.8")
        for human in ("hesitant", *HUMANS)
    },
}


def machine() -> dict[str, Any]:
    """Describe the machine and the versions that the figures come from."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in lines if "model name" in line), ": ?")
    return {
        "cpu": model.split(":")[1].strip(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "lightning", "torchrl", "tensordict")},
    }


def trace(path: str) -> None:
    """Write a trace of some steps of MILE for chrome://tracing, and print where the time goes."""
    steps = LearningSteps.gaussian()
    steps.mile()
    with torch.profiler.profile(with_stack=True) as profile:
        for _ in range(20):
            steps.mile()
    profile.export_chrome_trace(path)
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15))


@one_line_errors
def main() -> None:
    """Measure, print a table, and write latest.json."""
    # arguments
    parser = argparse.ArgumentParser(description="Speed as ratios within one run.")
    parser.add_argument("--trace", metavar="FILE", help="write a torch.profiler trace of a training step instead")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), help="some of them")
    arguments = parser.parse_args()
    if arguments.trace:
        trace(arguments.trace)
        return

    # measure
    table = Table("benchmark", "median", "quartiles", "aim", title="ratios within this run")
    figures: dict[str, Any] = {}
    for name in arguments.only:
        print(f"{name} …", flush=True)
        function, aim = BENCHMARKS[name]
        figures[name], low, high = function()
        table.add_row(name, f"{figures[name]:.2f}", f"{low:.2f} to {high:.2f}", aim)

    # print and keep
    Console(width=120).print(table)
    (HERE / "latest.json").write_text(json.dumps({"machine": machine(), **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
