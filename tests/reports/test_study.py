import csv
import json
import shutil
import sys

import pytest
from torchrl.envs import TransformedEnv

from mile import report
from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer
from mile.envs import InterventionTransform, make_env
from mile.reports.participants import read_participants
from mile.reports.study import study
from mile.train import train
from tests.support import HARMLESS, PAYLOADS, PEOPLE, SCRIPT, EveryThird, act_by_step, smoke

pytestmark = pytest.mark.filterwarnings("ignore:no interventions in round")


def take_part(folder, participant, *overrides):
    folder.mkdir(parents=True, exist_ok=True)
    more = ["experiment=user_study_iterative", f"participant={participant}", "mental_model.num_episodes=1"]
    more += ["+human.person.console.controls=[[],[ArrowUp],[ArrowUp]]", *PEOPLE["human=browser"], *SCRIPT]
    return train(smoke(folder, *more, *overrides))


def forms(folder):
    return [json.loads(line)["form"] for line in (folder / "answers.jsonl").read_text().splitlines()]


SURVEY = ["Looking back", "How demanding was it?"]


@pytest.mark.parametrize(("participant", "blind"), [(1, ["initial", "final"]), (2, ["final", "initial"])])
def test_a_participant_is_led_through_the_study_in_a_counterbalanced_order(tmp_path, participant, blind):
    take_part(tmp_path / "run", participant)
    assert forms(tmp_path / "run") == ["consent", "practice", "round 1", "round 2", *blind, *SURVEY]
    buffer = InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander")
    assert [episode[:2] for episode in buffer.episodes] == [(0, 0), (1, 1)]  # neither practice nor what was shown
    (person,), _ = read_participants([tmp_path])
    assert person.answers["Looking back"]["satisfaction"] == 4
    assert set(person.predictions[0]) == {"model", "majority"}
    from_earlier_rounds = {"network", "history", "history_free", "before", "before_free"}
    assert set(person.predictions[1]) == {"model", "majority", *from_earlier_rounds}
    written = study([tmp_path], tmp_path / "report")
    assert all(path.stat().st_size for path in written)
    assert [person.effort[number].takeovers for number in (0, 1)] == [1, 0]  # as scripted
    with written[1].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"prediction", "effort", "deployment", "answer"}


@pytest.mark.filterwarnings("ignore:.*the last line was not finished and is left out")
def test_what_was_answered_is_not_asked_again_and_what_was_torn_is(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for form, answers in (("consent", {"agree": "yes"}), ("practice", {}), ("round 1", {"performance": 7})):
        with (folder / "answers.jsonl").open("a") as file:
            file.write(json.dumps({"form": form, "time": 0.0, "answers": answers}) + "\n")
    with (folder / "answers.jsonl").open("a") as file:
        file.write('{"form": "round 2", "time": 0.0, "answers": {"perf')
    take_part(folder, 1)
    assert forms(folder) == ["consent", "practice", "round 1", "round 2", "initial", "final", *SURVEY]
    (participant,), _ = read_participants([tmp_path])
    assert participant.answers["round 1"] == {"performance": 7}
    assert participant.answers["round 2"] == {"performance": 4}  # as scripted


def test_without_consent_nothing_is_recorded(tmp_path):
    no = "callbacks.study.consent.fields=[{name:agree,label:I,kind:choice,options:['no','yes']}]"
    with pytest.raises(SystemExit, match="did not consent"):
        take_part(tmp_path / "run", 1, no)
    assert not InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").episodes


def test_a_folder_without_participants_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no participant's folder"):
        study([tmp_path], tmp_path / "report")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a participant as far as a report reads it; a test works on a copy."""
    folder = tmp_path_factory.mktemp("finished")
    env = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(EveryThird()))
    buffer = InterventionBuffer(folder / "buffer", "Counting-v0")
    collect_episodes(env, act_by_step, 2, on_episode=buffer.append)
    rates = {"accuracy": 0.9, "brier": 0.1}
    success = {"success_rate": 0.5, "mean_return": -1.5}
    deployed = {"steps": 9, "interventions": 3, "intervention_ratio": 0.3, **success}
    for name, content in {
        "predictions.json": {"0": {"model": rates, "majority": rates}},
        "deployment.json": {"0": deployed},
        "results.json": {"initial policy": success, "learnt policy": success},
    }.items():
        (folder / name).write_text(json.dumps(content))
    answer(folder, "Looking back", {"satisfaction": 4})
    return folder


def answer(folder, form, answers):
    with (folder / "answers.jsonl").open("a") as file:
        file.write(json.dumps({"form": form, "time": 0.0, "answers": answers}) + "\n")


@pytest.fixture
def two(finished, tmp_path):
    """Participants 1 and 2."""
    for name in ("1", "2"):
        shutil.copytree(finished, tmp_path / "study" / name)
    return tmp_path / "study"


def test_participants_may_lie_in_several_folders_and_count_once(two, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "later" / "3")
    participants, _ = read_participants([two, tmp_path / "later", two / "1"])
    assert [participant.name for participant in participants] == ["1", "2", "3"]
    with pytest.raises(ValueError, match=r"nowhere' holds no participant's folder"):
        read_participants([two, tmp_path / "nowhere"])


def test_a_torn_last_answer_is_left_out_with_a_word_and_the_others_are_reported(two):
    with (two / "1" / "answers.jsonl").open("a") as file:
        file.write('{"form": "How demanding was it?", "time": 0.0, "answers": {"men')
    with pytest.warns(UserWarning, match="1/answers.jsonl': the last line was not finished and is left out"):
        participants, left_out = read_participants([two])
    assert [participant.name for participant in participants] == ["1", "2"]
    assert participants[0].answers == {"Looking back": {"satisfaction": 4}}
    assert not left_out


DAMAGED = {
    "predictions torn in two": ("predictions.json", '{"0": {"mod'),
    "no predictions": ("predictions.json", "{}"),
    "predictions in a list": ("predictions.json", "[1]"),
    "a round without a number": ("predictions.json", '{"first": {}}'),
    "a prediction in words": ("predictions.json", '{"0": {"model": {"accuracy": "good"}}}'),
    "results torn in two": ("results.json", '{"initial pol'),
    "results without the learnt policy": ("results.json", '{"initial policy": {"success_rate": 1}}'),
    "deployments torn in two": ("deployment.json", "{"),
    "a deployment without figures": ("deployment.json", '{"0": {}}'),
    "an answer before the last one torn": (
        "answers.jsonl",
        '{"form": "consent", "ti\n{"form": "practice", "answers": {}}\n',
    ),
    "an answer without a form": ("answers.jsonl", '{"answers": {}}\n'),
    "an answer that is a number": ("answers.jsonl", "5\n"),
    "answers without fields": ("answers.jsonl", '{"form": "consent", "answers": 3}\n'),
    "bytes": ("answers.jsonl", "\x00\n"),
    "an estimate without its interval": ("human.json", '{"cost": 3}'),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_and_holds_up_that_participant_alone(two, case):
    name, content = DAMAGED[case]
    (two / "1" / name).write_text(content)
    participants, (line,) = read_participants([two])
    assert [participant.name for participant in participants] == ["2"]
    assert str(two / "1" / name) in line
    assert "is damaged" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["observation.bin", "episodes.jsonl", "schema.json"])
def test_a_damaged_recording_holds_up_that_participant_alone(two, name):
    path = two / "1" / "buffer" / name
    path.write_bytes(path.read_bytes()[::-1])
    participants, (line,) = read_participants([two])
    assert [participant.name for participant in participants] == ["2"]
    assert str(two / "1") in line


def test_who_is_left_out_is_said_by_the_program_and_in_the_report(two, monkeypatch, capsys):
    (two / "1" / "results.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["mile-report", "study", str(two)])
    report.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"left out: participant '{two / '1'}': ")
    text = (two / "report" / "study.md").read_text(encoding="utf-8")
    assert text.startswith("# User study: 1 participants")
    assert text.endswith(f"## Left out\n\n* {line.removeprefix('left out: ')}\n")


def test_a_study_of_damaged_participants_alone_ends_in_one_line(two, monkeypatch):
    for name in ("1", "2"):
        (two / name / "predictions.json").write_text("{")
    monkeypatch.setattr(sys, "argv", ["mile-report", "study", str(two)])
    with pytest.raises(SystemExit) as stopped:
        report.main()
    assert "predictions.json' is damaged" in str(stopped.value.code)
    assert "\n" not in str(stopped.value.code)


def test_what_a_participant_writes_is_no_formula_in_the_table(two, tmp_path):
    """Python's csv module is the spreadsheet; numbers stay numbers."""
    texts = [*PAYLOADS, *HARMLESS]
    answer(two / "1", "=1+1", {**{f"@{place}": text for place, text in enumerate(texts)}, "number": -7})
    study([two], tmp_path / "report")
    with (tmp_path / "report" / "study.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["where"] == "'=1+1"]
    assert [row["value"] for row in rows] == [*(f"'{text}" for text in PAYLOADS), *HARMLESS, "-7"]
    assert [row["name"] for row in rows] == [*(f"'@{place}" for place in range(len(texts))), "number"]


def test_what_was_learnt_of_a_participant_stands_in_the_report_with_open_ends(two, tmp_path):
    content = {"cost": [2.5, 1.25, None], "scale": [2.0, 2.0, 2.0]}
    (two / "1" / "human.json").write_text(json.dumps(content))
    written = study([two], tmp_path / "report")
    text = written[0].read_text(encoding="utf-8")
    assert "with 95 % intervals" in text
    assert "| participant | cost | scale |" in text
    assert "| 1 | 2.50 (1.25 to ∞) | 2.00 (held) |" in text
    with written[1].open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "human"]
    assert [(row["participant"], row["where"], row["name"], row["value"]) for row in rows[:3]] == [
        ("1", "cost", "estimate", "2.5"),
        ("1", "cost", "low", "1.25"),
        ("1", "cost", "high", "inf"),
    ]
