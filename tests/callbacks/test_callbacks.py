import math

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torchrl.envs import TransformedEnv

from mile.callbacks import (
    DeploymentCallback,
    EvaluationCallback,
    InterventionModelCallback,
    LearningCallback,
    RoundProgressBar,
    VideoCallback,
)
from mile.callbacks.learning import term_gradients
from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.evaluation import evaluate_policy
from mile.methods import MILE
from tests.support import EveryThird


@pytest.fixture
def run(tmp_path, every_third):
    """Two rounds with every callback and TensorBoard."""
    torch.manual_seed(0)
    env = make_env("Counting-v0", num_envs=2)
    supervised = TransformedEnv(make_env("Counting-v0", num_envs=2), InterventionTransform(every_third))
    deployment = DeploymentCallback(supervised, num_rounds=2, episodes_per_round=3, epochs_per_round=2)
    video = VideoCallback(lambda: make_env("Counting-v0", render_mode="rgb_array"), every_third, 0)
    evaluation, bar = EvaluationCallback(env, 4, 0, 2), RoundProgressBar()
    evaluation.references = {"expert (sampled)": evaluate_policy(env, make_policy(env, hidden_dims=(8,)), 2, 0)}
    trainer = Trainer(
        accelerator="cpu",
        logger=TensorBoardLogger(tmp_path, "", ""),
        callbacks=[deployment, evaluation, InterventionModelCallback(), LearningCallback(), video, bar],
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=-1,
        log_every_n_steps=1,
    )
    data = InterventionDataModule(tmp_path / "buffer", "Counting-v0", batch_size=16)
    trainer.fit(MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), 1.0, 2.0), datamodule=data)
    return trainer, deployment, bar, tmp_path


def test_one_fit_is_all_of_algorithm_1(run):
    trainer, deployment, bar, folder = run
    buffer = trainer.datamodule.buffer
    assert trainer.current_epoch == 4
    assert [buffer.recorded(0), buffer.recorded(1)] == [{0, 1, 2}, {3, 4, 5}]
    assert [len(outcome.returns) for outcome in deployment.outcomes] == [3, 3]
    assert bar.describe().startswith("round 2/2 · episode 3/3 · epoch")
    assert "human" in bar.describe()
    assert "return" in bar.describe()
    events = EventAccumulator(str(folder)).Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars >= {
        "train/loss",
        "train/intervention_loss",
        "train/policy_loss",
        "train/gradient_norm_policy",
        "train/gradient_norm_mental_model",
        "deployment/intervention_ratio",
        "deployment/return",
        "evaluation/return",
        "evaluation/return_low",
        "evaluation/success_high",
        "reference/expert (sampled)/success",
        "gap/own_intervened",
        "gap/expected_not_intervened",
        "gradient/intervention_loss/mental_model",
        "gradient/policy_loss/policy",
        "gradient/cosine",
        "drift/not_intervened",
        "prediction/floor",
        "prediction/accuracy",
        "prediction/auc",
        "prediction/log_likelihood",
    }
    assert [event.step for event in events.Scalars("deployment/return")] == [0, 1]
    steps = buffer.steps[buffer.rows([1])]
    ratio = steps["intervened"].float().mean()
    assert events.Scalars("deployment/intervention_ratio")[1].value == pytest.approx(float(ratio))
    assert set(events.Tags()["images"]) >= {"prediction/reliability", "prediction/episode", "rollout"}
    assert events.Scalars("gradient/policy_loss/mental_model")[0].value == 0
    assert events.Scalars("drift/not_intervened")[0].value > 0
    assert events.Scalars("prediction/floor")[0].value == pytest.approx(0.5 * math.erfc(0.5 / math.sqrt(2)))
    assert "prediction/intervention_prob" in events.Tags()["histograms"]


@pytest.mark.parametrize("name", ["num_rounds", "episodes_per_round", "epochs_per_round"])
def test_counts_below_one_are_refused(name):
    counts = {"num_rounds": 1, "episodes_per_round": 1, "epochs_per_round": 1} | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        DeploymentCallback(make_env("Counting-v0"), **counts)


def test_the_gradients_of_the_terms_make_up_that_of_the_loss():
    torch.manual_seed(0)
    env = make_env("CountingBox-v0", num_envs=2)
    supervised = TransformedEnv(env, InterventionTransform(EveryThird(continuous=True)))
    policy, mental_model = (make_policy(env, hidden_dims=(8,)) for _ in range(2))
    steps = collect_episodes(supervised, policy, 3)
    mile = MILE(policy, mental_model, 1.0, 2.0, intervention_weight=0.3)
    parts = term_gradients(mile, steps)
    mile.loss(steps).loss.backward()
    for name in ("policy", "mental_model"):
        of_both = zip(parts["intervention_loss", name], parts["policy_loss", name], strict=True)
        for weight, (first, second) in zip(getattr(mile, name).parameters(), of_both, strict=True):
            torch.testing.assert_close(weight.grad, 0.3 * first + 0.7 * second)
