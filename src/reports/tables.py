"""Results as a table for the terminal and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mile.evaluation import Evaluation
from mile.files import write_text

FORMATS = {"return": ".1f", "success": ".0%"}


def print_table(title: str, rows: Mapping[str, Evaluation], metric: str = "return") -> None:
    """Print what each row is judged by, with its 95 % interval, and the human's share of the steps.

    Args:
        title: above the table.
        rows: evaluations by the name of what was evaluated.
        metric: "return": mean return and success rate; "success": the success rate alone.
    """
    table = Table("policy", title=title)
    shown = ("return", "success") if metric == "return" else ("success",)
    for name in (*({"return": "mean return [95 %]", "success": "success [95 %]"}[it] for it in shown), "human"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(_with_interval(row, it) for it in shown), f"{row.intervention_ratio:.1%}")
    Console().print(table)


def print_rounds(deployed: Sequence[Evaluation], evaluated: Mapping[int, Evaluation], metric: str) -> None:
    """Print a line for each round: what its deployment saw, and how good the policy was after it.

    Args:
        deployed: outcomes of the deployments, the human's help included.
        evaluated: Outcomes of the policy alone, by the number of deployments learnt from.
        metric: "return" or "success".
    """
    table = Table("round", title="rounds")
    for name in ("steps", "ν=1", "ratio", "with human", f"{metric} after [95 %]"):
        table.add_column(name, justify="right")
    for number, row in enumerate(deployed, start=1):
        after = _with_interval(evaluated[number], metric) if number in evaluated else ""
        counts = int(row.lengths.sum()), int(row.interventions.sum())
        ratio, helped = f"{row.intervention_ratio:.1%}", f"{row.score(metric):{FORMATS[metric]}}"
        table.add_row(f"{number}", *map(str, counts), ratio, helped, after)
    steps = sum(int(row.lengths.sum()) for row in deployed)
    interventions = sum(int(row.interventions.sum()) for row in deployed)
    table.add_section()
    table.add_row("all", str(steps), str(interventions), f"{interventions / steps:.1%}")
    Console().print(table)


def _with_interval(row: Evaluation, metric: str) -> str:
    form = FORMATS[metric]
    low, high = row.interval(metric=metric)
    return f"{row.score(metric):{form}} \\[{low:{form}}, {high:{form}}]"


def write_json(path: Path, rows: Mapping[str, Evaluation]) -> None:
    """Write the summary of each row."""
    write_text(path, json.dumps({name: row.summary() for name, row in rows.items()}, indent=2) + "\n")
