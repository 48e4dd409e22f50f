"""The paper's figures and tables, from folders of runs.

mile-report outputs/paper
mile-report study outputs/user_study_iterative
"""

import argparse
import io
import sys
from pathlib import Path

from mile.files import refuse_links, write_bytes, write_text
from mile.reports.comparison import (
    INTERVALS,
    SAME_DATA,
    better,
    gather,
    left_out_section,
    markdown,
    offline,
    over_tasks,
)
from mile.reports.runs import read_runs, write_table
from mile.running.command_line import one_line_errors


def report(sources: list[Path], folder: Path) -> list[Path]:
    """Read runs and write a report; a run that is left out is named in it, and on stderr.

    Args:
        sources: Folders of runs, and tables of earlier reports.
        folder: Place of `report.md`, `runs.csv`, and each figure as PNG and SVG.

    Returns:
        The files written.

    Raises:
        ValueError: There is nothing to report.
    """
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):  # names are no formulas
        return _report(sources, folder)


def _report(sources: list[Path], folder: Path) -> list[Path]:
    from matplotlib.figure import Figure

    from mile.reports.figures import ablation, bars, curves, demonstrations, same_data_bars

    outcomes, left_out = read_runs(sources)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)

    series = gather(outcomes)
    names = list(dict.fromkeys(it.experiment for it in series))
    iterative = [name for name in names if name.endswith("_iterative")]
    single = [name for name in names if name not in iterative]
    same_data = [name for name in single if any(it.experiment == name and it.variant == SAME_DATA for it in series)]
    shown = [name for name in single if any(it.experiment == name and demonstrations(it.variant) for it in series)]
    figures: dict[str, Figure] = {}
    if single:
        figures["fig3"] = bars(series, outcomes, single)
    if iterative:
        figures["fig4"] = curves(series, outcomes, iterative)
    if shown:
        figures["fig5"] = ablation(series, outcomes, shown[0])
    if same_data:
        figures["same_data"] = same_data_bars(series, outcomes, same_data)

    text = markdown(series, outcomes)
    for title, group, choose in (
        ("One round", single, better),
        ("In rounds", iterative, better),
        ("The same data", same_data, offline),
    ):
        rated = [name for name in group if any(it.experiment == name and it.metric == "success" for it in outcomes)]
        if len(rated) > 1:
            text += f"\n## {title}: {', '.join(rated)} together\n\n{over_tasks(series, rated, choose)}"
    text += f"\n{INTERVALS}\n{left_out_section(left_out)}"

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.md", text)
    write_table(folder / "runs.csv", outcomes)
    written = [folder / f"{name}{suffix}" for name in figures for suffix in (".png", ".svg")]
    for path in written:
        content = io.BytesIO()
        figures[path.stem].savefig(content, format=path.suffix[1:], dpi=150)
        write_bytes(path, content.getvalue())
    return [folder / "report.md", folder / "runs.csv", *written]


@one_line_errors
def main() -> None:
    """Parse the command line, and report."""
    parser = argparse.ArgumentParser("mile-report", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=Path, help="folders of runs, and runs.csv of earlier reports; or: study FOLDER"
    )
    parser.add_argument("--output", type=Path, help="folder of the report; by default report/ in the first one")
    given = parser.parse_args()
    asked_for_study = given.runs[0] == Path("study")
    if asked_for_study and len(given.runs) != 2:
        raise ValueError(f"one folder of a study is expected after 'study', got {len(given.runs) - 1}")
    first = given.runs[asked_for_study]
    output = given.output or (first if first.is_dir() else first.parent) / "report"
    refuse_links(first / "report")  # which is written to, in a folder that may be foreign
    if asked_for_study:
        from mile.reports.study import study  # reads recordings: Lightning takes seconds to import

        written = study(first, output)
    else:
        written = report(given.runs, output)
    for path in written:
        print(path)


if __name__ == "__main__":
    main()
