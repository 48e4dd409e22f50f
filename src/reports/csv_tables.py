"""Tables in CSV: cells that no spreadsheet takes for formulas, and the table of runs."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mile.files import write_text
from mile.reports.left_out import words_of
from mile.reports.outcomes import SCORES, Outcome, Run

# beginning of a formula (OWASP, "CSV injection"), or of a formula with apostrophes before it
FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")

OUTCOME_COLUMNS = [field.name for field in fields(Outcome)]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that a spreadsheet shows as they are.

    Text that a spreadsheet would take for a formula begins with an apostrophe.

    Args:
        path: Path of the file, which is replaced as a whole.
        header: Names of the columns.
        rows: Cells by column; numbers stay numbers.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, header)
    table.writeheader()
    for row in rows:
        cells = map(_harmless, row.values())
        table.writerow(dict(zip(row, cells, strict=True)))
    write_text(path, text.getvalue())


def _harmless(cell: Any) -> Any:
    """Return a cell that is no formula."""
    if not isinstance(cell, str):
        return cell
    text = cell.encode(errors="replace").decode()  # a browser may send half a character, which UTF-8 does not have
    return f"'{text}" if FORMULA.match(text) else text


def _original(cell: str) -> str:
    """Undo `_harmless`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def write_table(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write one line for each outcome, as `read_table` reads them."""
    write_csv(path, OUTCOME_COLUMNS, (asdict(outcome) for outcome in outcomes))


def read_table(path: Path) -> list[Run]:
    """Read the runs of a table by `write_table`.

    Raises:
        ValueError: The file is no table of runs, is one of version 0.1, or lacks lines of a run.
    """
    runs: defaultdict[Any, list[Outcome]] = defaultdict(list)
    header: Sequence[str] = ()
    with path.open(newline="", encoding="utf-8") as file:
        try:
            table = csv.DictReader(file)
            header = table.fieldnames or ()
            for row in table:
                outcome = _read_outcome(row)
                runs[outcome.series, outcome.seed, outcome.settings].append(outcome)
        except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
            if "of" in header and set(OUTCOME_COLUMNS).difference(header) == {"metric"}:
                raise ValueError(
                    f"'{path}' is a table of version 0.1: its column 'of' is called 'metric' since version 0.2; rename "
                    "it in the header"
                ) from None
            raise ValueError(f"'{path}' is no table of runs ({words_of(error)}); make it with mile-report") from None

    for outcomes in runs.values():
        _check_complete(path, outcomes)
    return [Run(path, outcomes) for outcomes in runs.values()]


def _read_outcome(row: Mapping[str, str]) -> Outcome:
    values: dict[str, Any] = {}
    for field in fields(Outcome):
        cell = _original(row[field.name])
        kind: Any = field.type
        values[field.name] = cell == "True" if kind is bool else kind(cell)
    if values["metric"] not in SCORES:
        raise ValueError(f"metric must be one of {list(SCORES)}, got '{values['metric']}'")
    return Outcome(**values)


def _check_complete(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Refuse the lines of a run without its beginning or its end."""
    has_start = has_end = False
    for outcome in outcomes:
        has_start = has_start or outcome.round == 0
        has_end = has_end or (outcome.round > 0 and outcome.final)
    if has_start and has_end:
        return
    lacking = "its last round" if has_start else "round 0"
    run = " ".join([*outcomes[0].series, str(outcomes[0].seed)])
    raise ValueError(f"'{path}' is a part of a table: {run} has no line for {lacking}; make it with mile-report")
