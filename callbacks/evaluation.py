"""Evaluation of the learnt policy as training goes on."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchrl.envs import EnvBase

from mile.callbacks.deployment import DeploymentCallback
from mile.evaluation import Evaluation, by_round, evaluate_policy
from mile.policies import Policy

MEASURES = ("return", "success")


class EvaluationCallback(Callback):
    """Evaluates the policy alone, without a human, every so many epochs.

    TensorBoard gets each evaluation at the round whose deployment was learnt from last; the rounds are those of the
    trainer's `DeploymentCallback`. Without one, every evaluation ends a round.

    Args:
        env: without an `InterventionTransform`.
        num_episodes: episodes an evaluation.
        seed: of the episodes; the same ones every time.
        every_n_epochs: Number of epochs between two evaluations.

    Attributes:
        references: lines to compare with in TensorBoard, by name.
        evaluations: Outcomes by the number of epochs trained before.
    """

    def __init__(self, env: EnvBase, num_episodes: int, seed: int, every_n_epochs: int) -> None:
        for name, value in (("num_episodes", num_episodes), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.env = env
        self.num_episodes = num_episodes
        self.seed = seed
        self.every_n_epochs = every_n_epochs
        self.references: Mapping[str, Evaluation] = {}
        self.evaluations: dict[int, Evaluation] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the evaluations made so far."""
        return {str(epochs): asdict(outcome) for epochs, outcome in self.evaluations.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the evaluations of the run that is continued."""
        self.evaluations = {int(epochs): Evaluation(**outcome) for epochs, outcome in state_dict.items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out TensorBoard's custom scalars: the policy's curve and the references in one chart."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                names = [f"reference/{re.escape(name)}" for name in self.references]
                lines = {
                    metric: [f"evaluation/{metric}$", *(f"{name}/{metric}$" for name in names)] for metric in MEASURES
                }
                charts = {metric: ["Multiline", tags] for metric, tags in lines.items()}
                logger.experiment.add_custom_scalars({"evaluation": charts})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate and log, with the 95 % intervals."""
        epochs = trainer.current_epoch + 1
        if epochs % self.every_n_epochs:
            return
        outcome = evaluate_policy(self.env, cast(Policy, pl_module.policy), self.num_episodes, self.seed)
        self.evaluations[epochs] = outcome

        # scores, their intervals, and the lines to compare with
        metrics = {}
        for metric in MEASURES:
            low, high = outcome.interval(metric=metric)
            metrics |= {
                f"evaluation/{metric}": outcome.score(metric),
                f"evaluation/{metric}_low": low,
                f"evaluation/{metric}_high": high,
            }
            metrics |= {f"reference/{name}/{metric}": row.score(metric) for name, row in self.references.items()}

        # at the round, counted from 0 as by the other callbacks
        plans = [callback for callback in trainer.callbacks if isinstance(callback, DeploymentCallback)]
        epochs_per_round = plans[0].epochs_per_round if plans else self.every_n_epochs
        (number,) = by_round({epochs: outcome}, epochs_per_round)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number - 1)
