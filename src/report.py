"""The paper's figures and tables, from folders of runs.

mile-report runs outputs/paper
mile-report runs outputs/mine docs/paper/runs.csv --output outputs/report
mile-report study outputs/user_study_iterative
"""

from __future__ import annotations

import argparse
import io
import shlex
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mile.files import refuse_links, write_bytes, write_text
from mile.reports.comparison import SAME_DATA, Series, better, demonstrations, figure_methods, gather, offline
from mile.reports.csv_tables import write_table
from mile.reports.human_time import effort
from mile.reports.left_out import left_out_section, print_left_out
from mile.reports.markdown import INTERVALS, by_experiment, over_tasks
from mile.reports.outcomes import Outcome
from mile.reports.runs import read_runs
from mile.reports.verdict import Verdicts, decide
from mile.running.command_line import one_line_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COMMANDS = ("runs", "study")


def report(sources: list[Path], folder: Path) -> list[Path]:
    """Read runs and write a report; a run that is left out is named in it, and on stderr.

    Args:
        sources: Folders of runs, and tables of earlier reports.
        folder: Folder of `report.md`, `runs.csv`, and each figure as PNG and SVG.

    Returns:
        The files written.

    Raises:
        ValueError: There is nothing to report.
    """
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):  # names are no formulas
        return _report(sources, folder)


def _report(sources: list[Path], folder: Path) -> list[Path]:
    outcomes, left_out = read_runs(sources)
    print_left_out(left_out)
    series = gather(outcomes)
    groups = _group(series, outcomes)
    verdicts = decide(outcomes, groups.same_data, _learnt_offline(series, groups.same_data))
    text = _text(series, outcomes, groups, verdicts)
    figures = _figures(series, outcomes, groups, verdicts)

    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "report.md", folder / "runs.csv"]
    write_text(written[0], f"{text}\n{INTERVALS}\n{left_out_section(left_out)}")
    write_table(written[1], outcomes)
    for name, figure in figures.items():
        for suffix in (".png", ".svg"):
            path = folder / f"{name}{suffix}"
            content = io.BytesIO()
            figure.savefig(content, format=suffix[1:], dpi=150)
            write_bytes(path, content.getvalue())
            written.append(path)
    return written


class Groups(NamedTuple):
    """The experiments of a report by what can be compared in them, in order.

    Attributes:
        single: Experiments in which some method had one round.
        iterative: Experiments of several rounds.
        same_data: Experiments of one round in which some method learnt from MILE's recordings.
        ablated: Experiments of one round in which some method began with demonstrations.
    """

    single: list[str]
    iterative: list[str]
    same_data: list[str]
    ablated: list[str]


def _group(series: Sequence[Series], outcomes: Sequence[Outcome]) -> Groups:
    # the fewest rounds of any method: baselines may need several for what MILE learns in one
    rounds: dict[tuple[str, str, str], int] = {}
    for outcome in outcomes:
        rounds[outcome.series] = max(outcome.round, rounds.get(outcome.series, 0))
    fewest: dict[str, int] = {}
    for runs in series:
        fewest[runs.experiment] = min(rounds[runs.series], fewest.get(runs.experiment, rounds[runs.series]))

    groups = Groups([], [], [], [])
    for runs in series:
        if fewest[runs.experiment] > 1:
            _add(groups.iterative, runs.experiment)
            continue
        _add(groups.single, runs.experiment)
        if runs.variant == SAME_DATA:
            _add(groups.same_data, runs.experiment)
        if demonstrations(runs.variant):
            _add(groups.ablated, runs.experiment)
    return groups


def _learnt_offline(series: Sequence[Series], experiments: Sequence[str]) -> set[tuple[str, str, str]]:
    """Return the series that stand for the methods on the same data."""
    chosen = set()
    for experiment, method in product(experiments, figure_methods(series)):
        runs = offline(series, experiment, method)
        if runs is not None:
            chosen.add(runs.series)
    return chosen


def _add(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)


def _text(series: Sequence[Series], outcomes: Sequence[Outcome], groups: Groups, verdicts: Verdicts) -> str:
    """Return the tables of a report: of each experiment, and of all those together that are judged by success."""
    text = by_experiment(series, outcomes)
    by_success = {outcome.experiment for outcome in outcomes if outcome.metric == "success"}
    for title, names, choose in (
        ("One round", groups.single, better),
        ("In rounds", groups.iterative, better),
        ("The same data", groups.same_data, offline),
    ):
        together = [name for name in names if name in by_success]
        if len(together) > 1:
            text += f"\n## {title}: {', '.join(together)} together\n\n{over_tasks(series, together, choose)}"

    # by the rules of docs/results/protocol.md
    if groups.same_data:
        text += f"\n## The same data: verdict over {', '.join(groups.same_data)}\n\n{verdicts.text}"
    for experiment in groups.iterative:
        if experiment in by_success:
            text += f"\n## Human time: {experiment}\n\n{effort(outcomes, experiment)}"
    return text


def _figures(
    series: Sequence[Series], outcomes: Sequence[Outcome], groups: Groups, verdicts: Verdicts
) -> dict[str, Figure]:
    """Return the figures of a report by name: those for which there are runs."""
    from mile.reports.figures import ablation, bars, curves, gains, same_data_bars

    figures: dict[str, Figure] = {}
    if groups.single:
        figures["fig3"] = bars(series, outcomes, groups.single)
    if groups.iterative:
        figures["fig4"] = curves(series, outcomes, groups.iterative)
    if groups.ablated:
        figures["fig5"] = ablation(series, outcomes, groups.ablated[0])
    if groups.same_data:
        figures["same_data"] = same_data_bars(series, outcomes, groups.same_data)
    if verdicts.standings:
        figures["gains"] = gains(verdicts.standings, groups.same_data)
    return figures


@one_line_errors
def main() -> None:
    """Parse the command line, and report."""
    words = sys.argv[1:]
    if words and words[0] not in (*COMMANDS, "-h", "--help"):
        raise ValueError(
            f"the first word must be 'runs' or 'study', got '{words[0]}'; write "
            f"`{shlex.join(['mile-report', 'runs', *words])}`"
        )
    args = _parser().parse_args()

    # place: in the first folder, or beside the first table
    first: Path = args.sources[0]
    output = args.output or (first if first.is_dir() else first.parent) / "report"
    if args.output is None:
        refuse_links(output)  # the folder may be foreign, and is written to

    if args.command == "study":
        from mile.reports.study import study

        written = study(args.sources, output)
    else:
        written = report(args.sources, output)
    for path in written:
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mile-report", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("runs", help="Fig. 3, 4, 5 and tables of finished runs")
    runs.add_argument("sources", nargs="+", type=Path, help="folders of runs, and runs.csv of earlier reports")
    study = commands.add_parser("study", help="Fig. 7 and tables of a user study")
    study.add_argument("sources", nargs="+", type=Path, help="folders of a study's participants")
    for command in (runs, study):
        command.add_argument("--output", type=Path, help="folder of the report; by default report/ in the first one")
    return parser


if __name__ == "__main__":
    main()
