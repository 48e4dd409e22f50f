import pytest

from mile.commands.record import main
from mile.commands.record import record as begin
from mile.datamodules import InterventionBuffer
from mile.datamodules.recorded import demonstrations
from mile.envs import make_env
from mile.policies import describe_checkpoint
from mile.pretrain import pretrain
from tests.humans.script import Script
from tests.support import composed


class Demonstrator(Script):
    """Burns the main engine; fails, discards, and then succeeds for good."""

    def __init__(self):
        super().__init__([("ArrowUp",)] * 40, {3: "failure", 6: "discard", 9: "success", 13: "success", 17: "success"})


def record(monkeypatch, folder, wanted):
    options = [
        "human.person.console._target_=tests.commands.test_record.Demonstrator",
        "human.rate=1000",
        f"output={folder}",
    ]
    options += [f"num_episodes={wanted}", "~human.person.console.host", "~human.person.console.port"]
    monkeypatch.setattr("sys.argv", ["record.py", *options])
    main()
    return InterventionBuffer(folder, "lunarlander")


@pytest.mark.usefixtures("as_a_program")
def test_demonstrations_are_recorded_until_enough_are_good_and_a_policy_is_cloned_from_them(tmp_path, monkeypatch):
    buffer = record(monkeypatch, tmp_path / "shown", 2)
    rows = [(episode.round, episode.episode, episode.length) for episode in buffer.episodes]
    assert rows == [(-1, 0, 4), (-1, 1, 4), (-1, 2, 4)]
    assert buffer.steps["intervened"].all()
    assert (buffer.steps["executed_action"] == 2).all()
    again = record(monkeypatch, tmp_path / "shown", 2)  # nothing is missing
    assert len(again.episodes) == 3
    steps = demonstrations(make_env("lunarlander"), tmp_path / "shown")
    assert set(steps["episode"].tolist()) == {1, 2}  # the failure is kept, and not cloned
    few = ["train.steps=5", "evaluation.num_episodes=1", f"output={tmp_path / 'initial'}"]
    cloning = ["role=initial", "algorithm=recorded", f"train.demonstrate.folder={tmp_path / 'shown'}"]
    pretrain(composed("pretrain", *cloning, *few))
    assert describe_checkpoint(tmp_path / "initial")["role"] == "initial"


@pytest.mark.usefixtures("as_a_program")
def test_a_recording_with_gaps_and_long_successes_is_continued(tmp_path, monkeypatch):
    """As one that was imported: numbers as they were there, and success told in several steps."""
    steps = record(monkeypatch, tmp_path / "first", 1).steps
    success = steps[steps["episode"] == 1].clone()
    success["next", "success"].fill_(True)
    buffer = InterventionBuffer(tmp_path / "gaps", "lunarlander")
    buffer.append(success)
    again = record(monkeypatch, tmp_path / "gaps", 2)
    assert again.recorded(-1) == {1, 2, 3}  # the Demonstrator fails first


def test_a_folder_without_successful_demonstrations_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no recorded episodes"):
        demonstrations(make_env("lunarlander"), tmp_path)


def test_a_recording_with_pictures_is_not_continued_without_pictures(tmp_path):
    buffer = InterventionBuffer(tmp_path, "lunarlander")
    buffer.entries["frame"] = ("|u1", [8])
    with pytest.raises(ValueError, match=r"begun with \['frame'\], this environment has none.*env.frames=true"):
        begin(make_env("lunarlander"), None, buffer, 1, 0)
