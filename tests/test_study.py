import csv
import json

import pytest

from mile.datamodules import InterventionBuffer
from mile.study import read_participants, study
from mile.train import train
from tests.test_configs import PEOPLE, SCRIPT, smoke

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
    assert [(it.round, it.episode) for it in buffer.episodes] == [(0, 0), (1, 1)]  # nothing that was practice or shown
    (found,) = read_participants(tmp_path)
    assert found.answers["Looking back"]["satisfaction"] == 4
    assert set(found.predictions[0]) == {"model", "majority"}
    assert set(found.predictions[1]) == {"model", "majority", "network"}
    written = study(tmp_path, tmp_path / "report")
    assert all(path.stat().st_size for path in written)
    assert [found.effort[number].takeovers for number in (0, 1)] == [1, 0]  # as scripted
    with written[1].open() as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"prediction", "effort", "deployment", "answer"}


def test_what_was_answered_is_not_asked_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for form, answers in (("consent", {"agree": "yes"}), ("practice", {}), ("round 1", {"performance": 7})):
        with (folder / "answers.jsonl").open("a") as file:
            file.write(json.dumps({"form": form, "time": 0.0, "answers": answers}) + "\n")
    take_part(folder, 1)
    assert forms(folder) == ["consent", "practice", "round 1", "round 2", "initial", "final", *SURVEY]
    assert read_participants(tmp_path)[0].answers["round 1"] == {"performance": 7}


def test_without_consent_nothing_is_recorded(tmp_path):
    no = "callbacks.study.consent.fields=[{name:agree,label:I,kind:choice,options:['no','yes']}]"
    with pytest.raises(SystemExit, match="did not consent"):
        take_part(tmp_path / "run", 1, no)
    assert not InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").episodes


def test_a_folder_without_participants_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no participant's folder"):
        study(tmp_path, tmp_path / "report")
