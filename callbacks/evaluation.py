"""Evaluation of the learnt policy during training."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchrl.envs import EnvBase

from mile.callbacks.rounds import Rounds, find_rounds
from mile.evaluation import Evaluation, evaluate_policy
from mile.policies import Policy

METRICS = ("return", "success")


class EvaluationCallback(Callback):
    """Evaluates the policy alone, without a human, at a rhythm of its own.

    Each evaluation is logged at the round that was learnt from last. The rounds are those of the trainer's
    `DeploymentCallback`; without one, every evaluation ends a round.

    Args:
        env: Environment without an `InterventionTransform`.
        num_episodes: Number of episodes in an evaluation.
        seed: Seed of the episodes, which are the same ones every time.
        every_n_epochs: Number of epochs between two evaluations.
        references: Evaluations to compare with, by name, for TensorBoard.

    Attributes:
        evaluations: Outcomes by the number of epochs trained before.

    Raises:
        ValueError: A number is below 1.
    """

    NEEDS: ClassVar = {"env": "env", "references": "references"}

    def __init__(
        self,
        env: EnvBase,
        num_episodes: int,
        seed: int,
        every_n_epochs: int,
        references: Mapping[str, Evaluation] | None = None,
    ) -> None:
        for name, value in (("num_episodes", num_episodes), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.env = env
        self.num_episodes = num_episodes
        self.seed = seed
        self.every_n_epochs = every_n_epochs
        self.references = references or {}
        self.evaluations: dict[int, Evaluation] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the evaluations so far, for a checkpoint."""
        return {str(epochs): asdict(outcome) for epochs, outcome in self.evaluations.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the evaluations from a checkpoint."""
        self.evaluations = {int(epochs): Evaluation(**outcome) for epochs, outcome in state_dict.items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out TensorBoard's custom scalars: the policy's curve and the references in one chart."""
        charts = {}
        for metric in METRICS:
            tags = [f"evaluation/{metric}$"]
            for name in self.references:
                tags.append(f"reference/{re.escape(name)}/{metric}$")
            charts[metric] = ["Multiline", tags]

        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_custom_scalars({"evaluation": charts})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate, if it is time, and log scores with their 95 % intervals."""
        epochs = trainer.current_epoch + 1
        if epochs % self.every_n_epochs:
            return
        outcome = evaluate_policy(self.env, cast(Policy, pl_module.policy), self.num_episodes, self.seed)
        self.evaluations[epochs] = outcome

        # scores, their intervals, and the lines to compare with
        metrics = {}
        for metric in METRICS:
            low, high = outcome.interval(metric=metric)
            metrics[f"evaluation/{metric}"] = outcome.score(metric)
            metrics[f"evaluation/{metric}_low"] = low
            metrics[f"evaluation/{metric}_high"] = high
            for name, reference in self.references.items():
                metrics[f"reference/{name}/{metric}"] = reference.score(metric)

        # at the round, numbered from 0 as by the other callbacks
        rounds = find_rounds(trainer) or Rounds(count=epochs, epochs=self.every_n_epochs)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=rounds.learnt(epochs) - 1)
