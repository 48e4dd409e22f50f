import csv
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from mile import report as program
from mile.report import report
from mile.reports.comparison import better, gather, offline
from mile.reports.csv_tables import write_csv, write_table
from mile.reports.markdown import by_experiment, over_tasks
from mile.reports.outcomes import Outcome
from mile.reports.runs import read_runs
from tests.support import HARMLESS, PAYLOADS, composed

LINE = Outcome(
    "drawer_open", "MILE", "", 0, "abc", "success", 0, True, 0.2, 100, 0, 0, 0.0, 0.7, 1.0, "abc", "x86_64", "2.13.0"
)


def outcomes(scores, rounds=1, **settings):
    """A finished run for each seed: before, between rounds, and at the end."""
    lines = []
    for seed, score in scores.items():
        line = replace(LINE, seed=seed, **settings)
        lines += [line, replace(line, round=rounds, score=score, steps=50, interventions=10)]
        lines.append(replace(line, round=rounds, score=score / 2, final=False))
    return lines


SERIES = [
    *outcomes({5: 0.9, 6: 0.8, 7: 1.0}),
    *outcomes({5: 0.4, 6: 0.8}, method="HG-DAgger"),
    *outcomes({5: 0.6, 6: 0.9, 7: 0.7}, method="HG-DAgger", variant="restart"),
    *outcomes({5: 0.5}, method="IWR", variant="5 demonstrations"),
    *outcomes({5: 0.5, 6: 0.6, 7: 0.7}, method="Sirius", variant="same data"),
    *outcomes({5: 0.9, 6: 0.5, 7: 0.3}, variant="frozen mental model, same data"),
    *outcomes({5: 0.5, 6: 0.6}, rounds=20, experiment="drawer_open_iterative"),
    *outcomes({5: 0.5, 6: 0.6, 7: 0.7}, method="Somebody's"),
]


def test_the_better_variant_is_chosen_and_what_is_missing_is_said():
    series = gather(SERIES)
    chosen = better(series, "drawer_open", "HG-DAgger")
    assert chosen is not None
    assert chosen.variant == "restart"
    lucky = gather([*outcomes({5: 0.4, 6: 0.8}), *outcomes({5: 0.9}, variant="restart")])
    chosen = better(lucky, "drawer_open", "MILE")
    assert chosen is not None
    assert chosen.variant == ""  # a variant is not better by the seeds that it lacks
    text = by_experiment(series, SERIES)
    assert "| HG-DAgger | 2, missing 7 |" in text
    assert "Missing: BC intervention, RLIF." in text
    assert "| Somebody's | 3 |" in text
    (dagger,) = (line for line in text.splitlines() if line.startswith("| HG-DAgger | 2"))
    assert "| 10 | 0.2 |" in dagger  # ten steps with ν=1 for 40 points more
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
        f"{name}.{kind}" for name in ("fig3", "fig4", "fig5", "same_data", "gains") for kind in ("png", "svg")
    }
    assert (tmp_path / "report" / "runs.csv").read_text() == table.read_text()
    for path in written:
        if path.suffix == ".png":
            assert len(np.unique(np.asarray(Image.open(path)).reshape(-1, 4), axis=0)) > 10


def test_of_different_settings_those_of_most_seeds_are_reported(tmp_path):
    odd = outcomes({5: 0.1}, settings="xyz")
    others = [*outcomes({6: 0.9, 7: 0.8}), *outcomes({5: 0.3}, settings="xyz", method="IWR")]
    write_table(tmp_path / "runs.csv", [*odd, *others])
    chosen, (line,) = read_runs([tmp_path / "runs.csv"])
    assert chosen == others
    assert "runs.csv' (seed 5) has other settings than most runs of drawer_open by MILE" in line
    assert "variant=… (now '')" in line


def test_of_settings_of_as_many_seeds_the_tables_or_the_first_are_reported(tmp_path):
    write_table(tmp_path / "first.csv", [*outcomes({5: 0.9}), *outcomes({6: 0.8}, settings="xyz")])
    chosen, _ = read_runs([tmp_path / "first.csv"])
    assert {outcome.seed for outcome in chosen} == {5}
    finished_run(tmp_path / "mine", 7)
    write_table(tmp_path / "table.csv", outcomes({5: 0.9}, method="IWR"))
    chosen, (line,) = read_runs([tmp_path / "mine", tmp_path / "table.csv"])
    assert {outcome.seed for outcome in chosen} == {5}
    assert "mine' (seed 7) has other settings" in line


def test_a_run_that_is_in_two_tables_counts_once_even_where_something_is_not_known(tmp_path):
    lines = outcomes({5: 0.9}, seconds=math.nan, helped=math.nan)
    for name in ("first.csv", "second.csv"):
        write_table(tmp_path / name, lines)
    rows, left_out = read_runs([tmp_path / "first.csv", tmp_path / "second.csv"])
    assert list(map(str, rows)) == list(map(str, lines))
    assert not left_out


def test_a_run_that_was_made_again_elsewhere_is_not_mixed_with_the_first(tmp_path):
    write_table(tmp_path / "first.csv", outcomes({5: 0.9}))
    write_table(tmp_path / "second.csv", outcomes({5: 0.8}, machine="aarch64"))
    rows, (line,) = read_runs([tmp_path / "first.csv", tmp_path / "second.csv"])
    assert {row.machine for row in rows} == {LINE.machine}
    assert "second.csv' (seed 5 of drawer_open by MILE) is there already, from" in line
    assert "first.csv', with other outcomes" in line


def test_a_variant_may_have_any_name(tmp_path):
    table = tmp_path / "runs.csv"
    write_table(table, outcomes({5: 0.9}) + outcomes({5: 0.8}, variant="poor demonstrations"))
    assert report([table], tmp_path / "report")


def finished_run(folder, seed, **settings):
    """A run's folder as far as a report reads it; "callbacks" adds to those that each run has."""
    folder.mkdir()
    more = settings.pop("callbacks", {})
    config = {
        "name": "drawer_open",
        "seed": seed,
        "variant": None,
        "demonstrations": 0,
        "data": {"from": None, "restart": False},
        "method": {"_target_": "mile.methods.IWR"},
        "env": {"name": "drawer_open"},
        "callbacks": {"deployment": {"epochs_per_round": 2}, "evaluation": {"every_n_epochs": 2}, **more},
        **dict.fromkeys(("collector", "logger", "trainer")),
        **settings,
    }
    row = {"success_rate": 0.4, "episodes": 10}
    rows = ("initial policy", "with interventions", "learnt policy", "expert (sampled)")
    for name, content in {
        "config.yaml": config,
        "results.json": dict.fromkeys(rows, row),
        "evaluation.json": {"2": row},
        "deployment.json": {"0": {"steps": 9, "interventions": 3}},
        "policy.json": {"metric": "success"},
    }.items():
        (folder / name).write_text(json.dumps(content))  # JSON is YAML


def test_a_setting_that_is_not_set_makes_no_difference_and_one_that_is_does(tmp_path):
    finished_run(tmp_path / "earlier", 5)
    finished_run(tmp_path / "later", 6, start=None)
    outcomes, left_out = read_runs([tmp_path])
    assert {outcome.seed: outcome.interventions for outcome in outcomes if outcome.round} == {5: 3, 6: 3}
    assert not left_out
    finished_run(tmp_path / "other", 7, start={"steps": 3000})
    outcomes, (line,) = read_runs([tmp_path])
    assert {outcome.seed for outcome in outcomes} == {5, 6}
    assert f"'{tmp_path / 'other'}' (seed 7) has other settings than most runs of drawer_open by IWR" in line


def test_a_video_changes_nothing_in_a_run(tmp_path):
    finished_run(tmp_path / "seen", 5, callbacks={"video": {"seed": 4}})
    finished_run(tmp_path / "unseen", 6)
    outcomes, left_out = read_runs([tmp_path])
    assert {outcome.seed for outcome in outcomes} == {5, 6}
    assert not left_out


def test_shipped_runs_with_and_without_video_have_the_same_settings(tmp_path):
    for seed, choice in ((5, "callbacks=default"), (6, "callbacks=video")):
        finished_run(tmp_path / str(seed), seed)
        cfg = composed("train", "experiment=drawer_open", choice, f"seed={seed}", "output_dir=anywhere", "command=any")
        OmegaConf.save(cfg, tmp_path / str(seed) / "config.yaml")
    outcomes, left_out = read_runs([tmp_path])
    assert len({outcome.settings for outcome in outcomes}) == 1
    assert not left_out


def test_a_config_keeps_the_digest_by_which_earlier_tables_know_it(tmp_path):
    finished_run(tmp_path / "run", 5)
    outcomes, _ = read_runs([tmp_path])
    assert {outcome.settings for outcome in outcomes} == {"3c71d4d8e20a"}  # as of version 0.1.0


DAMAGE = {
    "results.json torn in two": ("results.json", '{"learnt policy": {"succ', "results.json' is damaged"),
    "results.json without a policy": ("results.json", "{}", "KeyError: 'initial policy'"),
    "scores that are words": ("results.json", '{"initial policy": {"success_rate": "=1", "episodes": 1}}', "float"),
    "a list of evaluations": ("evaluation.json", "[]", "AttributeError"),
    "evaluations beyond the deployments": (
        "evaluation.json",
        '{"99": {"success_rate": 1, "episodes": 1}}',
        "IndexError",
    ),
    "evaluations by an earlier version": ("evaluation.json", '{"0": {}}', "of an earlier version"),
    "a metric by its name of version 0.1": ("policy.json", '{"rated_by": "success"}', "it was made by version 0.1"),
    "a metric that nobody knows": ("policy.json", '{"metric": "beauty"}', "KeyError: 'beauty'"),
    "another project's config": ("config.yaml", "epochs: 3\nmodel: large\n", "Missing key"),
    "a config that is no YAML": ("config.yaml", "a: [1,\n b: }", "while parsing"),
    "a config in bytes": ("config.yaml", "\x00", "special characters are not allowed"),
    "a config without a round's length": ("config.yaml", '{"callbacks": {}}', "Missing key"),
    "no deployments": ("deployment.json", None, "FileNotFoundError"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_run_that_cannot_be_read_is_named_and_holds_up_itself_alone(tmp_path, case):
    name, content, words = DAMAGE[case]
    finished_run(tmp_path / "sound", 5)
    finished_run(tmp_path / "odd", 6)
    (tmp_path / "odd" / name).unlink()
    if content is not None:
        (tmp_path / "odd" / name).write_text(content)
    outcomes, (line,) = read_runs([tmp_path])
    assert {outcome.seed for outcome in outcomes} == {5}
    assert line.startswith(f"'{tmp_path / 'odd'}' cannot be read: ")
    assert words in line
    assert "\n" not in line


def test_what_is_left_out_is_said_by_the_program_and_in_the_report(tmp_path, monkeypatch, capsys):
    finished_run(tmp_path / "sound", 5)
    finished_run(tmp_path / "stopped", 6)
    (tmp_path / "stopped" / "results.json").unlink()
    finished_run(tmp_path / "torn", 7)
    (tmp_path / "torn" / "evaluation.json").write_text('{"2": ')
    monkeypatch.setattr(sys, "argv", ["mile-report", "runs", str(tmp_path)])
    program.main()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("'")[1] for line in lines] == [str(tmp_path / "stopped"), str(tmp_path / "torn")]
    assert all(line.startswith("left out: ") for line in lines)
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    _, listed = text.split("## Left out\n\n")
    assert listed.splitlines() == [line.replace("left out: ", "* ") for line in lines]


def test_a_report_says_how_its_intervals_are_made(tmp_path):
    write_table(tmp_path / "runs.csv", SERIES)
    report([tmp_path / "runs.csv"], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Clopper and Pearson" in text
    assert "five pairs of five give [0.48, 1]" in " ".join(text.lower().split())
    assert "Left out" not in text


@pytest.mark.parametrize("name", ["report.md", "runs.csv", "fig3.png", "fig3.svg"])
def test_a_report_that_is_interrupted_leaves_the_earlier_one_whole(tmp_path, monkeypatch, name):
    """The process ends just before the new file takes the old one's place."""
    write_table(tmp_path / "table.csv", outcomes({5: 0.9}))
    report([tmp_path / "table.csv"], tmp_path)
    before = (tmp_path / name).read_bytes()
    replace_file = Path.replace

    def fail(path, target):
        if Path(target).name == name:
            raise KeyboardInterrupt
        return replace_file(path, target)

    monkeypatch.setattr(Path, "replace", fail)
    write_table(tmp_path / "other.csv", outcomes({5: 0.3}))
    with pytest.raises(KeyboardInterrupt):
        report([tmp_path / "other.csv"], tmp_path)
    assert (tmp_path / name).read_bytes() == before


def test_no_formula_starts_in_a_table_and_text_comes_back_as_it_was(tmp_path):
    """Python's csv module is the spreadsheet."""
    texts = [*PAYLOADS, *HARMLESS]
    runs = [replace(LINE, variant=text, round=number) for text in texts for number in (0, 1)]
    write_table(tmp_path / "runs.csv", runs)
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        cells = [row["variant"] for row in csv.DictReader(file)][::2]
    assert cells == [*(f"'{text}" for text in PAYLOADS), *HARMLESS]
    chosen, left_out = read_runs([tmp_path / "runs.csv"])
    assert chosen == runs
    assert not left_out


def test_numbers_stay_numbers_in_a_table(tmp_path):
    write_csv(tmp_path / "table.csv", ["cell"], [{"cell": -1}, {"cell": -0.5}, {"cell": "-1"}, {"cell": "\ud83d"}])
    assert (tmp_path / "table.csv").read_bytes() == b"cell\r\n-1\r\n-0.5\r\n'-1\r\n?\r\n"


def test_a_folder_without_runs_and_a_foreign_table_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no finished run in .*; a run's folder holds results.json"):
        read_runs([tmp_path])
    with pytest.raises(ValueError, match=r"nowhere' is no folder and no \.csv"):
        read_runs([tmp_path / "nowhere"])
    for content in ("a,b\n1,2\n", "of,b\n1,2\n"):
        (tmp_path / "other.csv").write_text(content)
        with pytest.raises(ValueError, match="is no table of runs"):
            read_runs([tmp_path / "other.csv"])


def test_a_table_of_version_0_1_is_refused_with_the_column_to_rename(tmp_path):
    path = tmp_path / "runs.csv"
    write_table(path, SERIES)
    current = path.read_text()
    path.write_text(current.replace(",metric,", ",of,", 1))
    message = (
        r"runs.csv' is a table of version 0\.1: its column 'of' is called 'metric' since version 0\.2; rename it in"
    )
    with pytest.raises(ValueError, match=message) as caught:
        read_runs([path])
    assert "\n" not in str(caught.value)
    path.write_text(path.read_text().replace(",of,", ",metric,", 1))  # as it says
    assert read_runs([path])[0]


def test_a_run_of_version_0_1_is_left_out_with_what_to_do(tmp_path):
    finished_run(tmp_path / "new", 5)
    finished_run(tmp_path / "old", 6)
    (tmp_path / "old" / "policy.json").write_text('{"rated_by": "success"}')
    outcomes, (line,) = read_runs([tmp_path])
    assert {outcome.seed for outcome in outcomes} == {5}
    assert line.startswith(f"'{tmp_path / 'old'}' cannot be read: it was made by version 0.1")
    assert line.endswith("train it again, or report it with that version")


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


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"", b'"', b"experiment,score\na\n", b"\x00\x01", b'"' + b"a" * 200_000],
    ids=["bytes", "nothing", "a quote", "columns lacking", "zeros", "a cell too large"],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path, monkeypatch, capsys, content):
    (tmp_path / "runs.csv").write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["mile-report", "runs", str(tmp_path / "runs.csv")])
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert str(stopped.value.code).startswith("error: ")
    assert str(tmp_path / "runs.csv") in str(stopped.value.code)
    assert "\n" not in str(stopped.value.code)
    assert len(str(stopped.value.code)) < 400


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["outputs/paper"], "`mile-report runs outputs/paper`"),
        (["my runs", "--output", "there"], "`mile-report runs 'my runs' --output there`"),
        (["--output", "there", "outputs/paper"], "`mile-report runs --output there outputs/paper`"),
    ],
)
def test_a_command_line_without_runs_or_study_is_refused_with_what_to_write(monkeypatch, words, advice):
    monkeypatch.setattr(sys, "argv", ["mile-report", *words])
    with pytest.raises(SystemExit) as stopped:
        program.main()
    assert str(stopped.value.code).startswith(f"error: the first word must be 'runs' or 'study', got '{words[0]}'; ")
    assert advice in str(stopped.value.code)
    assert "\n" not in str(stopped.value.code)


def test_a_report_lies_in_the_first_source_or_where_it_is_asked_for(tmp_path, monkeypatch, capsys):
    (tmp_path / "tables").mkdir()
    write_table(tmp_path / "tables" / "runs.csv", SERIES)
    finished_run(tmp_path / "mine", 5)
    sources = [str(tmp_path / "tables" / "runs.csv"), str(tmp_path / "mine")]
    for words, folder in (([], tmp_path / "tables" / "report"), (["--output", str(tmp_path / "it")], tmp_path / "it")):
        monkeypatch.setattr(sys, "argv", ["mile-report", "runs", *sources, *words])
        program.main()
        printed = capsys.readouterr().out.splitlines()
        assert {str(path) for path in folder.iterdir()} == set(printed)
        assert (folder / "report.md").exists()
