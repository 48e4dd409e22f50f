"""Finished runs, from their folders or from a table of earlier ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mile.reports.csv_tables import read_table
from mile.reports.outcomes import Outcome, Run
from mile.reports.run_folders import read_folders


def read_runs(sources: Iterable[str | Path]) -> tuple[list[Outcome], list[str]]:
    """Read all runs of some folders, and those in CSV files of earlier reports.

    Runs of one series must have the same settings: those that most of its seeds have.

    Args:
        sources: Folders, searched for runs at any depth, and files that end in .csv.

    Returns:
        The outcomes, and a line for each run that is left out.

    Raises:
        ValueError: A source is neither of these, a table holds something else, or there is no run at all.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    for source in map(Path, sources):
        if source.suffix == ".csv":
            runs += read_table(source)
        elif source.is_dir():
            readable, unreadable = read_folders(source)
            runs += readable
            left_out += unreadable
        else:
            raise ValueError(f"'{source}' is no folder and no .csv; give folders of runs, or tables of earlier reports")

    runs, others = _same_settings(runs)
    runs, repeated = _once(runs)
    left_out += others + repeated
    if not runs:
        reason = f"the first of {len(left_out)}: {left_out[0]}" if left_out else "a run's folder holds results.json"
        raise ValueError(f"no finished run in {', '.join(map(str, sources))}; {reason}")

    outcomes: list[Outcome] = []
    for run in runs:
        outcomes += run.outcomes
    return outcomes, left_out


def _once(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Choose one run of each seed of a series: the one that was read first.

    A run may be in several sources, or have been made again, by another machine for example.

    Args:
        runs: Runs; those of one series have the same settings.

    Returns:
        The chosen runs, and a line for each other one that came out differently.
    """
    chosen: dict[tuple[tuple[str, str, str], int], Run] = {}
    left_out = []
    for run in runs:
        outcome = run.outcomes[0]
        first = chosen.setdefault((outcome.series, outcome.seed), run)
        if set(map(str, run.outcomes)) != set(map(str, first.outcomes)):  # as text, in which NaN is NaN
            experiment, method, _ = outcome.series
            left_out.append(
                f"'{run.place}' (seed {outcome.seed} of {experiment} by {method}) is there already, from "
                f"'{first.place}', with other outcomes; report it apart, or give it a name of its own: variant=…"
            )
    return list(chosen.values()), left_out


def _same_settings(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Choose the runs of each series with the settings that most of its seeds have.

    Of several settings that as many seeds have, those in a table are chosen, or else those that were read first.

    Returns:
        The chosen runs, and a line for each that is left out.
    """
    # the seeds of each series by settings
    seeds: defaultdict[tuple[str, str, str], dict[str, set[int]]] = defaultdict(dict)
    in_a_table: set[str] = set()
    for run in runs:
        outcome = run.outcomes[0]
        seeds[outcome.series].setdefault(outcome.settings, set()).add(outcome.seed)
        if run.place.suffix == ".csv":
            in_a_table.add(outcome.settings)

    # the settings that most of them share: of equals, `max` returns the first
    shared: dict[tuple[str, str, str], str] = {}
    for series, by_settings in seeds.items():
        shared[series] = max(by_settings, key=lambda digest: (len(by_settings[digest]), digest in in_a_table))

    chosen, left_out = [], []
    for run in runs:
        outcome = run.outcomes[0]
        if outcome.settings == shared[outcome.series]:
            chosen.append(run)
            continue
        experiment, method, variant = outcome.series
        left_out.append(
            f"'{run.place}' (seed {outcome.seed}) has other settings than most runs of {experiment} by {method}; "
            f"report it apart, or train it with a name of its own: variant=… (now '{variant}')"
        )
    return chosen, left_out
