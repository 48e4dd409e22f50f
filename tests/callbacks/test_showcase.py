"""What a person is shown of what they taught, and the rounds that they may add."""

import numpy as np
import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, ShowcaseCallback
from mile.callbacks.showcase import SHADE, in_words, side_by_side
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.envs.frames import jpeg, read_picture
from mile.evaluation import Evaluation
from mile.humans import Person
from mile.humans.keymaps import keymap_for
from mile.methods import HGDAgger
from tests.humans.script import Script
from tests.support import EveryThird, quiet_trainer


def evaluation(successes, returns):
    count = len(successes)
    return Evaluation(
        returns=torch.tensor(returns),
        successes=torch.tensor(successes),
        lengths=torch.full([count], 5),
        interventions=torch.zeros(count, dtype=torch.int64),
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("success", "succeeds in 2 of 3 attempts. Before you taught it: 1 of 2."),
        ("return", "succeeds in 2 of 3 attempts. Before you taught it: 1 of 2. Mean return: 20, before -5."),
    ],
)
def test_results_in_words(metric, expected):
    before = evaluation([True, False], [0.0, -10.0])
    now = evaluation([True, True, False], [10.0, 20.0, 30.0])
    assert in_words(before, now, metric) == "On its own, the robot now " + expected


def test_two_attempts_side_by_side_and_the_shorter_one_is_dimmed():
    left = [jpeg(np.full((16, 24, 3), value, np.uint8)) for value in (50, 100, 150)]
    right = [jpeg(np.full((16, 24, 3), 200, np.uint8))]
    frames = side_by_side(left, right)
    assert [frame.shape for frame in frames] == [(16, 48, 3)] * 3
    for frame, value in zip(frames, (50, 100, 150), strict=True):
        assert abs(int(frame[:, :24].mean()) - value) <= 2
    shades = [round(float(frame[:, 24:].mean())) for frame in frames]
    assert shades[0] == round(float(read_picture(right[0], "JPEG").mean()))
    assert abs(shades[1] - SHADE * 200) <= 2
    assert shades[1] == shades[2]


class Decides(Script):
    """A person who starts episodes, and decides as planned whenever an attempt was shown to its end."""

    def __init__(self, *decisions):
        super().__init__()
        self.decisions = list(decisions)

    def commands(self):
        status = self.shown[-1][0]
        if status["phase"] != "showing":
            return super().commands()
        return [self.decisions.pop(0)] if status["over"] else []


class Leaves(Decides):
    """A person who is gone as soon as something is shown."""

    def commands(self):
        return [] if self.shown[-1][0]["phase"] == "showing" else super().commands()

    def present(self):
        return self.shown[-1][0]["phase"] != "showing"


def taught(tmp_path, console, monkeypatch, at_desk=False):
    """Teach for two rounds of one episode, before a person at a console; return the callback that deploys."""
    monkeypatch.setattr("mile.callbacks.showcase.PLAYING", 0.2)
    monkeypatch.setattr("mile.callbacks.showcase.ALONE", 0.1)

    def make():
        return make_env("Counting-v0", render_mode="rgb_array")

    env = make()
    initial = make_policy(env, hidden_dims=(8,))
    person = Person(console, env.render, keymap_for(env.name, env.action_spec_unbatched), rate=1000)
    deployment = DeploymentCallback(TransformedEnv(env, InterventionTransform(EveryThird())), 2, 1, 1)
    before = evaluation([False], [0.0])
    showcase = ShowcaseCallback(person, make, initial, {"initial policy": before}, "success", 7, at_desk)
    data = InterventionDataModule(tmp_path / "buffer", env.name, batch_size=8)
    quiet_trainer(deployment, showcase).fit(HGDAgger(initial), datamodule=data)
    assert {episode.round for episode in data.buffer.episodes} == set(range(deployment.rounds.count))
    return deployment


def test_a_person_may_watch_again_and_teach_more_rounds_than_planned(tmp_path, monkeypatch):
    console = Decides("again", "another", "another", "start")  # the first round is not the last: nothing is added
    deployment = taught(tmp_path, console, monkeypatch)
    assert deployment.rounds.count == 3
    shown = [status for status, _ in console.shown if status["phase"] == "showing" and status["over"]]
    assert [status["last"] for status in shown] == [status["more"] for status in shown] == [False, False, True, True]
    assert not console.decisions
    widths = {frame.shape for status, frame in console.shown if status["phase"] == "showing"}
    assert widths == {(40, 120, 3)}


def test_nobody_is_waited_for_who_has_left(tmp_path, monkeypatch):
    deployment = taught(tmp_path, Leaves(), monkeypatch)
    assert deployment.rounds.count == 2


def test_a_single_robot_cannot_show_two_attempts(tmp_path, monkeypatch):
    console = Decides()
    taught(tmp_path, console, monkeypatch, at_desk=True)
    assert all(status["phase"] != "showing" for status, _ in console.shown)


def test_a_run_that_is_continued_knows_of_added_rounds():
    first = DeploymentCallback(make_env("Counting-v0"), 2, 1, 1)
    trainer = quiet_trainer()
    first.add_round(trainer)
    again = DeploymentCallback(make_env("Counting-v0"), 2, 1, 1)
    again.load_state_dict(first.state_dict())
    assert (again.rounds.count, trainer.max_epochs) == (3, 3)
    more = DeploymentCallback(make_env("Counting-v0"), 9, 1, 1)
    more.load_state_dict(first.state_dict())
    assert more.rounds.count == 9
    more.load_state_dict({"outcomes": []})  # of a run of before
    assert more.rounds.count == 9
