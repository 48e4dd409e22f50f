"""Results as a table for the terminal and as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mile.evaluation import Evaluation


def print_table(title: str, rows: Mapping[str, Evaluation]) -> None:
    """Print mean return and success rate with 95 % intervals, and the human's share of the steps, of each row."""
    table = Table(title=title)
    for name in ("policy", "mean return [95 %]", "success [95 %]", "human"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    for name, row in rows.items():
        return_low, return_high = row.interval()
        success_low, success_high = row.interval(of="success")
        table.add_row(
            name,
            f"{row.mean_return:.1f} \\[{return_low:.1f}, {return_high:.1f}]",
            f"{row.success_rate:.0%} \\[{success_low:.0%}, {success_high:.0%}]",
            f"{row.intervention_ratio:.1%}",
        )
    Console().print(table)


def write_json(path: Path, rows: Mapping[str, Evaluation]) -> None:
    """Write the summary of each row."""
    path.write_text(json.dumps({name: row.summary() for name, row in rows.items()}, indent=2) + "\n")
