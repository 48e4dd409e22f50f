import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from torchrl.envs import TransformedEnv

from mile.callbacks import EstimatorCallback
from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer
from mile.envs import InterventionTransform, make_env
from tests.support import act_by_step


@pytest.fixture
def trainer(tmp_path, every_third):
    """A trainer whose buffer holds a round of two episodes."""
    env = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(every_third))
    buffer = InterventionBuffer(tmp_path / "buffer", "Counting-v0")
    collect_episodes(env, act_by_step, 2, on_episode=buffer.append)
    return SimpleNamespace(datamodule=SimpleNamespace(buffer=buffer))


def test_predictions_are_whole_whenever_the_process_ends(tmp_path, trainer, monkeypatch):
    """It ends just before the new file takes the old one's place."""
    path = tmp_path / "predictions.json"
    path.write_text('{"7": {}}')
    callback = EstimatorCallback(path)

    def fail(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            callback.on_round_start(trainer, object(), 0)
    assert json.loads(path.read_text()) == {"7": {}}
    callback.on_round_start(trainer, object(), 0)
    assert list(json.loads(path.read_text())) == ["7", "0"]


def test_damaged_predictions_are_named(tmp_path, trainer):
    path = tmp_path / "predictions.json"
    path.write_text('{"0": {"mod')
    with pytest.raises(ValueError, match=r"predictions\.json' is damaged"):
        EstimatorCallback(path).on_round_start(trainer, object(), 0)
