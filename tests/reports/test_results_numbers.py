"""The results pages state the numbers that the tables of single runs have."""

import csv
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

import pytest
from scipy import stats

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results"
RUNS = DOCS / "paper" / "runs.csv"
PAGES = sorted(set(RESULTS.glob("*.md")) - {RESULTS / "report.md"})
TASKS = {
    "LunarLander": "lunarlander",
    "Button-Press": "button_press",
    "Drawer-Open": "drawer_open",
    "Peg-Insert": "peg_insert",
    "Drawer-Open in rounds": "drawer_open_iterative",
    "Peg-Insert in rounds": "peg_insert_iterative",
}
VARIANTS = {"begun anew": "restart", "the same data": "same data"}
CHANGES = {  # rows of ablations.md
    "frozen mental model": "frozen mental model, same data",
    "no warm start": "no warm start, same data",
    "λ = 0.1": "intervention_weight 0.1, same data",
    "λ = 0.9": "intervention_weight 0.9, same data",
    "the learner's σ × 4": "scale x4, same data",
    "the learner's σ × 0.25": "scale x0.25, same data",
    "the learner's c × 2": "cost x2, same data",
    "the learner's c × 0.5": "cost x0.5, same data",
    "a noisy human": "noisy human",
    "the robot samples its actions": "robot samples",
    "5 episodes instead of 15": "5 episodes",
    "30 episodes": "30 episodes",
}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def tables(text):
    """The tables of a page: the paragraph before, the header, and the rows as cells by the header's names."""
    for before, part in pairwise(text.split("\n\n")):
        if part.startswith("|"):
            rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()]
            yield before.strip(), rows[0], [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def final_scores():
    """The scores of all finished runs by experiment, method and variant, in the order of seeds."""
    scores = defaultdict(list)
    for row in sorted(read(RUNS), key=lambda row: int(row["seed"])):
        if row["final"] == "True" and row["round"] != "0":
            percent = 100 if row["metric"] == "success" else 1
            scores[row["experiment"], row["method"], row["variant"]].append(percent * float(row["score"]))
    return scores


def number(value, like):
    """A number with as many digits as another one, with the page's minus."""
    digits = len(like.split(".")[1]) if "." in like else 0
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def mean_and_error(scores, like):
    """As a table states it: "42 ± 3"; the mean alone if there is one run."""
    mean = like.split(" ± ")[0]
    if len(scores) == 1:
        return number(scores[0], mean)
    return f"{number(fmean(scores), mean)} ± {number(stdev(scores) / len(scores) ** 0.5, mean)}"


def share_better(scores, others):
    """P(better) and its interval by Clopper and Pearson, as ablations.md states them."""
    pairs = [(round(score), round(other)) for score, other in zip(scores, others, strict=True)]
    wins = sum(score > other for score, other in pairs)
    ties = sum(score == other for score, other in pairs)
    low = stats.binomtest(wins, len(pairs)).proportion_ci().low
    high = stats.binomtest(wins + ties, len(pairs)).proportion_ci().high
    share, low, high = (
        f"{value:.2f}".lstrip("0") if 0 < value < 1 else f"{value:.0f}"
        for value in ((wins + ties / 2) / len(pairs), low, high)
    )
    return f"{share} [{low}, {high}]"


@every_page
def test_means_of_tables_by_seed_are_right(page):
    """Below "From `data/x.csv`, column `y`": the columns before "seed" name a row; others are its runs."""
    for before, header, rows in tables(page.read_text(encoding="utf-8")):
        if "seeds" not in header:
            continue
        named = re.fullmatch(r"From \[`(data/\w+\.csv)`\]\(\1\), column `([\w ]+)`:", before)
        assert named, f"say above the table which column of which CSV it is from: {before}"
        records = read(RESULTS / named[1])
        keys = list(records[0])[: list(records[0]).index("seed")]
        runs = defaultdict(list)
        for record in records:
            runs[tuple(record[key] for key in keys)].append(float(record[named[2]]))

        assert header[: len(keys) + 3] == [*keys, "seeds", "mean ± s.e.", "range"]
        for row in rows:
            scores = runs[tuple(row[key] for key in keys)]
            assert row["seeds"] == str(len(scores))
            assert row["mean ± s.e."] == mean_and_error(scores, row["mean ± s.e."])
            if row["range"]:
                low, high = row["range"].split(" to ")
                assert row["range"] == f"{number(min(scores), low)} to {number(max(scores), high)}"
            if "95 % interval (t)" in row:
                low, high = stats.t.interval(0.95, len(scores) - 1, fmean(scores), stats.sem(scores))
                assert row["95 % interval (t)"] == f"[{max(low, 0):.0f}, {min(high, 100):.0f}]"


@every_page
def test_means_of_tables_by_method_are_those_of_the_runs(page):
    """Below "From `runs.csv`": tasks in rows, methods in columns; what follows the comma is the variant."""
    scores = final_scores()
    for before, header, rows in tables(page.read_text(encoding="utf-8")):
        if "From [`runs.csv`]" not in before or header[0] != "task":
            continue
        variant = next((name for words, name in VARIANTS.items() if words in before), "")
        for row in rows:
            for method in header[1:]:
                offline = variant == "same data" and method.startswith("MILE")
                runs = scores[TASKS[row["task"]], method, "" if offline else variant]
                stated = row[method]
                assert len(runs) == (5 if stated else 0), (row["task"], method)
                assert not runs or stated == mean_and_error(runs, stated), (row["task"], method)


def test_every_page_of_the_comparison_has_a_table_that_is_checked():
    checked = {
        page.stem
        for page in PAGES
        for before, header, _ in tables(page.read_text(encoding="utf-8"))
        if "From [`runs.csv`]" in before and header[0] == "task"
    }
    pages = {"one_round", "restart", "full_batches", "same_data", "in_rounds", "rlif"}
    assert checked == pages


def test_demonstrations_are_those_of_the_runs():
    scores = final_scores()
    ((_, header, rows),) = tables((RESULTS / "demonstrations.md").read_text(encoding="utf-8"))
    for row in rows:
        for count in header[1:]:
            runs = scores["drawer_open", row["demonstrations"], f"{count} demonstrations" if count != "0" else ""]
            assert row[count] == mean_and_error(runs, "0")


def test_ablations_are_those_of_the_runs_beside_plain_mile_of_the_same_time():
    scores = final_scores()
    before = [float(row["success"]) for row in read(RESULTS / "data" / "full_batches.csv") if row["method"] == "MILE"]
    plain = {"Drawer-Open": scores["drawer_open", "MILE", ""], "Peg-Insert": before}
    page = (RESULTS / "ablations.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| ")]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[1:]]
    assert [line[0] for line in lines] == ["plain MILE", *CHANGES]
    for line in lines[1:]:
        cells = []
        for task, runs in plain.items():
            changed = scores[TASKS[task], "MILE", CHANGES[line[0]]]
            cells += [mean_and_error(changed, "0"), share_better(changed, runs)]
        assert line[1:] == cells
    assert [cell for cell in lines[0][1:] if "±" in cell] == [mean_and_error(runs, "0") for runs in plain.values()]


def test_learning_rates_are_those_of_the_search():
    runs = defaultdict(list)
    for row in read(RESULTS / "data" / "learning_rates.csv"):
        runs[row["task"], row["method"], row["rate"]].append(float(row["score"]))
    ((_, header, rows),) = tables((RESULTS / "learning_rates.md").read_text(encoding="utf-8"))
    for row in rows:
        means = {rate: fmean(runs[row["task"], row["method"], rate]) for rate in header[2:]}
        assert {rate: float(row[rate].strip("*")) for rate in means} == means
        (chosen,) = (rate for rate in means if row[rate].startswith("**"))
        assert means[chosen] == max(means.values())


def test_success_by_round_is_that_of_the_runs():
    runs = defaultdict(list)
    for row in read(RESULTS / "data" / "meta_world_rounds.csv"):
        runs[row["experiment"], row["round"]].append(float(row["success"]))
    *_, (_, header, rows) = tables((RESULTS / "meta_world.md").read_text(encoding="utf-8"))
    for row in rows:
        for column in header[1:]:
            name = column.removeprefix("rounds ").removeprefix("round ")
            assert row[column] == f"{fmean(runs[TASKS[row['task']], name]):.0f}"
