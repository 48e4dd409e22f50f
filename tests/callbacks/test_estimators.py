import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import EstimatorCallback, InterventionModelCallback
from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer
from mile.envs import InterventionTransform, make_env, make_policy
from mile.methods import MILE, BCIntervention
from mile.recordings.prediction import prediction_metrics
from mile.timing import Delayed
from mile.timing.attempts import attempt_rows
from tests.support import act_by_step


@pytest.fixture
def trainer(tmp_path, every_third):
    """A trainer whose buffer holds a round of two episodes."""
    env = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(every_third))
    buffer = InterventionBuffer(tmp_path / "buffer", "Counting-v0")
    collect_episodes(env, act_by_step, 2, on_episode=buffer.append)
    return SimpleNamespace(datamodule=SimpleNamespace(buffer=buffer, steps=lambda: buffer.steps), loggers=[])


def in_time():
    """A module that learns from a delayed human."""
    torch.manual_seed(0)
    env = make_env("Counting-v0")
    policy, mental_model = (make_policy(env, hidden_dims=(8,)) for _ in range(2))
    return MILE(policy, mental_model, 0.5, 1.0, timing=Delayed(release_cost=-1.0, median_delay=2.0, longest_delay=9))


@torch.no_grad()
def log_likelihood(module, steps):
    """The mean over steps of the likelihood of whole attempts, each for itself."""
    total = 0.0
    rows, valid = attempt_rows(steps)
    for row, present in zip(rows, valid, strict=True):
        attempt = steps[row[present]]
        padded, attempts = module._attempts(attempt, *attempt_rows(attempt))
        gap = module.gap(padded)
        total += float(module.timing.log_likelihood(gap, attempts, module.cost).sum())
    return total / len(steps)


def test_a_module_in_time_predicts_given_the_steps_before_and_free_running(tmp_path, trainer):
    buffer, module = trainer.datamodule.buffer, in_time()
    EstimatorCallback(tmp_path / "predictions.json").on_round_start(trainer, module, 0)
    metrics = json.loads((tmp_path / "predictions.json").read_text())["0"]
    assert set(metrics) == {"majority", "model", "model_free"}
    assert metrics["model"]["log_likelihood"] == pytest.approx(log_likelihood(module, buffer.steps), rel=1e-5)
    assert metrics["model_free"] != metrics["model"]
    own = prediction_metrics(module.predict(buffer.steps), buffer.steps["intervened"])
    assert metrics["model"] == pytest.approx(own)  # sums over threads


def test_the_diagnostics_rate_the_prediction_given_the_steps_before(trainer):
    logged, module = {}, in_time()
    trainer.loggers = [SimpleNamespace(log_metrics=lambda metrics, step: logged.update(metrics))]
    InterventionModelCallback().on_round_start(trainer, module, 0)
    expected = log_likelihood(module, trainer.datamodule.buffer.steps)
    assert logged["prediction/log_likelihood"] == pytest.approx(expected, rel=1e-5)
    assert "gap/own_intervened" in logged


def test_estimators_from_earlier_rounds_come_with_the_second_round(tmp_path, trainer, every_third):
    buffer = trainer.datamodule.buffer
    env = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(every_third))
    collect_episodes(env, act_by_step, [2, 3], deployment_round=1, on_episode=buffer.append)
    module = BCIntervention(make_policy(make_env("Counting-v0"), hidden_dims=(8,)))
    callback = EstimatorCallback(tmp_path / "predictions.json")
    for number in (0, 1):
        callback.on_round_start(trainer, module, number)
    first, second = json.loads((tmp_path / "predictions.json").read_text()).values()
    assert set(first) == {"majority", "model"}
    added = {"network", "history", "history_free", "before", "before_free"}
    assert set(second) == {"majority", "model", *added}

    # every third step is an intervention: none follows on one
    assert second["before"]["auc"] > 0.6


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


def test_pictures_alone_are_refused_before_anything_is_recorded(tmp_path):
    module = BCIntervention(make_policy(make_env("CountingShown-v0"), in_keys=["pixels"], hidden_dims=(8,)))
    with pytest.raises(ValueError, match="from a vector called 'observation', and the policy acts on pixels; leave"):
        EstimatorCallback(tmp_path / "predictions.json").setup(None, module, "fit")
