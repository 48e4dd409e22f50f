"""Rounds that end when enough interventions are recorded, and recordings that come from elsewhere."""

import json

import pytest
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback
from mile.datamodules import BufferError, InterventionBuffer, InterventionDataModule
from mile.datamodules.recorded import take_recording
from mile.envs import InterventionTransform, make_env, make_policy
from mile.evaluation import summarize
from mile.ingredients.demonstrations import expert_episode
from mile.methods import IWR
from mile.transitions import DEMONSTRATION
from tests.support import EveryThird, episode, quiet_trainer


def run(folder, data=None, ckpt_path=None, **deployment):
    env = make_env("Counting-v0", num_envs=2)
    settings = {"num_rounds": 10, "episodes_per_round": 1, "epochs_per_round": 2} | deployment
    callback = DeploymentCallback(TransformedEnv(env, InterventionTransform(EveryThird())), **settings)
    trainer = quiet_trainer(callback)
    data = data or InterventionDataModule(folder / "buffer", "Counting-v0", 16)
    trainer.fit(IWR(make_policy(env, hidden_dims=(8,))), datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, callback


def told(folder, interventions):
    """The folder of a run that had so many."""
    folder.mkdir()
    (folder / "deployment.json").write_text(json.dumps({"0": {"interventions": interventions}}))
    return folder


def test_a_baseline_collects_until_it_has_as_many_interventions(tmp_path):
    trainer, callback = run(tmp_path, match=told(tmp_path / "mile", 12))
    counts = [int(outcome.interventions.sum()) for outcome in callback.outcomes]
    assert sum(counts) >= 12 > sum(counts[:-1])
    assert 1 < len(counts) < 10
    assert trainer.current_epoch == 2 * len(counts)


def test_a_finished_one_that_is_continued_collects_no_more(tmp_path):
    trainer, callback = run(tmp_path, match=told(tmp_path / "mile", 12))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, same = run(tmp_path, ckpt_path=tmp_path / "last.ckpt", match=tmp_path / "mile")
    assert again.current_epoch == trainer.current_epoch
    assert len(same.outcomes) == len(callback.outcomes)
    assert len(again.datamodule.buffer.episodes) == len(callback.outcomes)


def test_too_few_rounds_to_match_are_said(tmp_path):
    with pytest.warns(UserWarning, match="2 rounds have fewer than the 1000 intervention steps to match"):
        run(tmp_path, match=told(tmp_path / "mile", 1000), num_rounds=2)


def test_nothing_to_match_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no finished run to match"):
        run(tmp_path, match=tmp_path / "nobody")


def test_demonstrations_come_first(tmp_path):
    """They are served from the first round on, are no deployment, and cannot be mistaken for one."""
    env = make_env("Counting-v0", num_envs=2)
    data = InterventionDataModule(tmp_path / "buffer", "Counting-v0", 16)
    shown = expert_episode(env, make_policy(env, hidden_dims=(8,)), 0, seed=4)
    assert shown["intervened"].all()
    data.buffer.append(shown)
    trainer, callback = run(tmp_path, data, num_rounds=1)
    assert len(callback.outcomes) == 1
    data.trainer = trainer
    served = {number for batch in data.batches() for number in batch["round"].tolist()}
    assert served == {DEMONSTRATION, 0}


def test_a_recording_becomes_one_round(tmp_path):
    source = InterventionBuffer(tmp_path / "run" / "buffer", "Counting-v0")
    for number, deployed in ((0, DEMONSTRATION), (0, 0), (7, 1)):
        source.append(episode(number, deployed))
    data = InterventionDataModule(tmp_path / "own", "Counting-v0", 16)
    for _ in range(2):  # what is there already is left alone
        take_recording(tmp_path / "run", data.buffer)
    assert [(it.round, it.episode) for it in data.buffer.episodes] == [(DEMONSTRATION, 0), (0, 0), (0, 1)]


def test_learning_from_a_recording_takes_one(tmp_path):
    with pytest.raises(ValueError, match=r"holds no recording to learn from; say where one is: data.from="):
        run(tmp_path, episodes_per_round=None, num_rounds=1)
    with pytest.raises(ValueError, match="a recording is learnt from in one round, got num_rounds 2"):
        run(tmp_path, episodes_per_round=None, num_rounds=2)
    buffer = InterventionBuffer(tmp_path / "own", "Counting-v0")
    with pytest.raises(ValueError, match="holds no recorded episodes"):
        take_recording(tmp_path / "nobody", buffer)
    InterventionBuffer(tmp_path / "other" / "buffer", "elsewhere").append(episode())
    with pytest.raises(BufferError, match="holds steps of 'elsewhere', expected 'Counting-v0'"):
        take_recording(tmp_path / "other", buffer)


def test_a_deployment_reads_none_of_the_rounds_before_it(tmp_path, monkeypatch):
    """Nor the pictures of its own."""
    summed_up = []

    def listen(steps):
        summed_up.append((steps["round"].unique().tolist(), "observation" in steps.keys()))
        return summarize(steps)

    monkeypatch.setattr("mile.callbacks.deployment.summarize", listen)
    _, callback = run(tmp_path, num_rounds=3)
    assert summed_up == [([0], False), ([1], False), ([2], False)]
    assert [len(outcome.returns) for outcome in callback.outcomes] == [1, 1, 1]
