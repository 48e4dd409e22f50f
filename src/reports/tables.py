"""Results as a table for the terminal and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mile.evaluation import Evaluation
from mile.files import write_text

FORMATS = {"return": ".1f", "success": ".0%"}
TITLES = {"return": "mean return [95 %]", "success": "success [95 %]"}


def print_table(title: str, rows: Mapping[str, Evaluation], metric: str = "return") -> None:
    """Print each row's metrics with their 95 % intervals, and the human's share of the steps.

    Args:
        title: Title above the table.
        rows: Evaluations by the name of what was evaluated.
        metric: "return" for mean return and success rate; "success" for the success rate alone.
    """
    metrics = ("return", "success") if metric == "return" else ("success",)
    table = Table("policy", title=title)
    for name in metrics:
        table.add_column(TITLES[name], justify="right")
    table.add_column("human", justify="right")

    for policy, row in rows.items():
        cells = [_with_interval(row, name) for name in metrics]
        table.add_row(policy, *cells, f"{row.intervention_ratio:.1%}")
    Console().print(table)


def print_rounds(deployed: Sequence[Evaluation], evaluated: Mapping[int, Evaluation], metric: str) -> None:
    """Print a line for each round: the outcome of its deployment, and how good the policy was after it.

    Args:
        deployed: Outcomes of the deployments, the human's help included.
        evaluated: Outcomes of the policy alone, by the number of deployments learnt from.
        metric: "return" or "success".
    """
    table = Table("round", title="rounds")
    for name in ("steps", "ν=1", "ratio", "with human", f"{metric} after [95 %]"):
        table.add_column(name, justify="right")

    # rounds
    all_steps = all_interventions = 0
    for number, row in enumerate(deployed, start=1):
        steps, interventions = int(row.lengths.sum()), int(row.interventions.sum())
        all_steps += steps
        all_interventions += interventions
        after = _with_interval(evaluated[number], metric) if number in evaluated else ""
        helped = f"{row.score(metric):{FORMATS[metric]}}"
        table.add_row(f"{number}", f"{steps}", f"{interventions}", f"{row.intervention_ratio:.1%}", helped, after)

    # all of them
    table.add_section()
    table.add_row("all", f"{all_steps}", f"{all_interventions}", f"{all_interventions / all_steps:.1%}")
    Console().print(table)


def _with_interval(row: Evaluation, metric: str) -> str:
    form = FORMATS[metric]
    low, high = row.interval(metric=metric)
    return f"{row.score(metric):{form}} \\[{low:{form}}, {high:{form}}]"


def write_json(path: Path, rows: Mapping[str, Evaluation]) -> None:
    """Write the summary of each row."""
    write_text(path, json.dumps({name: row.summary() for name, row in rows.items()}, indent=2) + "\n")
