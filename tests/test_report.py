import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mile.comparison import better, gather, markdown, offline, over_tasks
from mile.intervals import interquartile_mean, mean, middle, probability_of_improvement, standard_error
from mile.report import report
from mile.runs import Outcome, read_runs, write_table

LINE = Outcome("drawer_open", "MILE", "", 0, "abc", "success", 0, True, 0.2, 100, 0, 0, 0.7, 1.0)


def outcomes(scores, **settings):
    """A finished run for each seed: before, between rounds, and at the end."""
    made = []
    for seed, score in scores.items():
        line = replace(LINE, seed=seed, **settings)
        made += [line, replace(line, round=1, score=score, steps=50, interventions=10)]
        made.append(replace(line, round=1, score=score / 2, final=False))
    return made


SERIES = [
    *outcomes({5: 0.9, 6: 0.8, 7: 1.0}),
    *outcomes({5: 0.4, 6: 0.8}, method="HG-DAgger"),
    *outcomes({5: 0.6, 6: 0.9, 7: 0.7}, method="HG-DAgger", variant="restart"),
    *outcomes({5: 0.5}, method="IWR", variant="5 demonstrations"),
    *outcomes({5: 0.5, 6: 0.6, 7: 0.7}, method="Sirius", variant="same data"),
    *outcomes({5: 0.9, 6: 0.5, 7: 0.3}, variant="frozen mental model, same data"),
    *outcomes({5: 0.5, 6: 0.6}, experiment="drawer_open_iterative"),
    *outcomes({5: 0.5, 6: 0.6, 7: 0.7}, method="Somebody's"),
]


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean([100, 1, 2, 3, 4, 5, 6, -100]) == np.mean([2, 3, 4, 5])


def test_a_mean_lies_in_its_interval_and_the_interval_covers_what_it_says():
    """Of 95 % intervals over normal samples, about 95 % hold the truth (bootstrap of 20: somewhat fewer)."""
    rng = np.random.default_rng(0)
    found = [mean(rng.normal(3, 1, 20)) for _ in range(100)]
    covered = sum(it.low <= 3 <= it.high for it in found)
    assert 85 <= covered <= 99
    assert all(it.low <= it.value <= it.high for it in found)


def test_tasks_are_resampled_one_by_one():
    """Two tasks that differ much, each without spread: a pooled bootstrap would have an interval."""
    assert mean([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) == (0.5, 0.5, 0.5)
    assert middle([0.0] * 4, [1.0] * 4).value == 0.5


def test_improvement_counts_pairs_and_halves_ties():
    assert probability_of_improvement(([1, 2, 3, 4], [0, 2, 5, 1])).value == (1 + 0.5 + 0 + 1) / 4
    assert probability_of_improvement(([1, 1], [0, 0])) == (1, 1, 1)


def test_one_seed_has_no_interval():
    assert math.isnan(mean([0.4]).low)
    assert math.isnan(standard_error([0.4]))


def test_the_better_variant_is_chosen_and_what_is_missing_is_said():
    series = gather(SERIES)
    chosen = better(series, "drawer_open", "HG-DAgger")
    assert chosen is not None
    assert chosen.variant == "restart"
    lucky = gather([*outcomes({5: 0.4, 6: 0.8}), *outcomes({5: 0.9}, variant="restart")])
    chosen = better(lucky, "drawer_open", "MILE")
    assert chosen is not None
    assert chosen.variant == ""  # a variant is not better by the seeds that it lacks
    text = markdown(series, SERIES, ["somewhere"])
    assert "| HG-DAgger | 2, missing 7 |" in text
    assert "Missing: BC intervention, RLIF." in text
    assert "| Somebody's | 3 |" in text
    (dagger,) = (line for line in text.splitlines() if line.startswith("| HG-DAgger | 2"))
    assert "| 10 | 0.2 |" in dagger  # ten steps with ν=1 for 40 points more
    assert "Not finished: `somewhere`" in text
    assert "| MILE | 3 | 90 % ± 6 % |" in text
    (changed,) = (line for line in text.splitlines() if line.startswith("| MILE (frozen mental model, same data)"))
    assert "| 0.83 [" in changed  # plain MILE is better twice in three and ties once
    assert "RLIF | missing" in over_tasks(series, ["drawer_open"])


def test_methods_are_compared_on_the_same_data_over_tasks():
    """MILE's own runs made the data; a baseline's runs that collected their own do not count."""
    series = gather(
        [
            *outcomes({5: 0.9, 6: 0.5}),
            *outcomes({5: 0.1, 6: 0.1}, experiment="peg_insert"),
            *outcomes({5: 1.0, 6: 1.0}, method="IWR"),
            *outcomes({5: 0.2, 6: 0.6}, method="IWR", variant="same data"),
            *outcomes({5: 0.3, 6: 0.3}, method="IWR", variant="same data", experiment="peg_insert"),
        ]
    )
    table = over_tasks(series, ["drawer_open", "peg_insert"], offline)
    assert "| MILE | 0.40 [" in table
    assert "| IWR | 0.35 [" in table
    assert "| 0.25 [" in table  # MILE is better in one pair of four
    assert "| Sirius | missing" in table


def test_a_report_has_all_figures_and_reads_its_own_table(tmp_path):
    table = tmp_path / "runs.csv"
    write_table(table, SERIES)
    written = report([table], tmp_path / "report")
    assert {path.name for path in written} == {"report.md", "runs.csv"} | {
        f"{name}.{kind}" for name in ("fig3", "fig4", "fig5", "same_data") for kind in ("png", "svg")
    }
    assert (tmp_path / "report" / "runs.csv").read_text() == table.read_text()
    for path in written:
        if path.suffix == ".png":
            assert len(np.unique(np.asarray(Image.open(path)).reshape(-1, 4), axis=0)) > 10


def test_runs_of_one_name_and_different_settings_are_not_averaged(tmp_path):
    write_table(tmp_path / "runs.csv", [*outcomes({5: 0.9}), *outcomes({6: 0.8}, settings="xyz")])
    with pytest.raises(ValueError, match="drawer_open by MILE with different settings"):
        read_runs([tmp_path / "runs.csv"])


def finished_run(folder, seed, **settings):
    """A run's folder as far as a report reads it."""
    folder.mkdir()
    config = {
        "name": "drawer_open",
        "seed": seed,
        "variant": None,
        "demonstrations": 0,
        "data": {"from": None, "restart": False},
        "method": {"_target_": "mile.methods.IWR"},
        "env": {"name": "drawer_open"},
        "callbacks": {"deployment": {"epochs_per_round": 2}, "evaluation": {"every_n_epochs": 2}},
        **dict.fromkeys(("collector", "logger", "trainer")),
        **settings,
    }
    row = {"success_rate": 0.4, "episodes": 10}
    rows = ("initial policy", "with interventions", "learnt policy", "expert (sampled)")
    for name, content in {
        "config.yaml": config,
        "results.json": dict.fromkeys(rows, row),
        "evaluation.json": {"0": row},
        "deployment.json": {"0": {"steps": 9, "interventions": 3}},
        "policy.json": {"rated_by": "success"},
    }.items():
        (folder / name).write_text(json.dumps(content))  # JSON is YAML


def test_a_setting_that_is_not_set_makes_no_difference_and_one_that_is_does(tmp_path):
    finished_run(tmp_path / "earlier", 5)
    finished_run(tmp_path / "later", 6, start=None)
    outcomes, _ = read_runs([tmp_path])
    assert {it.seed: it.interventions for it in outcomes if it.round} == {5: 3, 6: 3}
    finished_run(tmp_path / "other", 7, start={"steps": 3000})
    with pytest.raises(ValueError, match="by IWR with different settings"):
        read_runs([tmp_path])


def test_a_folder_without_runs_and_a_foreign_table_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no finished run in"):
        read_runs([tmp_path])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is no table of runs"):
        read_runs([tmp_path / "other.csv"])


@pytest.mark.parametrize(("first", "lacking"), [(True, "round 0"), (False, "its last round")])
def test_a_part_of_a_table_is_refused(tmp_path, first, lacking):
    whole = Path(__file__).parent.parent / "docs" / "paper" / "runs.csv"
    assert read_runs([whole])[0]
    with whole.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "part.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(row for row in rows if row["final"] == "False" or (row["round"] == "0") != first)
    with pytest.raises(ValueError, match=f"is a part of a table: .* has no line for {lacking}"):
        read_runs([tmp_path / "part.csv"])
