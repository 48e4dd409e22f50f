"""Evaluation of the learnt policy as training goes on."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torchrl.envs import EnvBase

from mile.evaluation import Evaluation, evaluate_policy
from mile.policies import Policy

MEASURES = ("return", "success")


class EvaluationCallback(Callback):
    """Evaluates the policy alone, without a human, every so many epochs.

    Args:
        env: without an `InterventionTransform`.
        num_episodes: episodes an evaluation.
        seed: of the episodes; the same ones every time.
        every_n_epochs: as many as a round has.

    Attributes:
        references: lines to compare with in TensorBoard, by name.
        evaluations: outcome by number of evaluations made before.
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
        return {str(number): asdict(outcome) for number, outcome in self.evaluations.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the evaluations of the run that is continued."""
        self.evaluations = {int(number): Evaluation(**outcome) for number, outcome in state_dict.items()}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out TensorBoard's custom scalars: the policy's curve and the references in one chart."""
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                names = [f"reference/{re.escape(name)}" for name in self.references]
                lines = {of: [f"evaluation/{of}$", *(f"{name}/{of}$" for name in names)] for of in MEASURES}
                charts = {of: ["Multiline", tags] for of, tags in lines.items()}
                logger.experiment.add_custom_scalars({"evaluation": charts})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate and log, with the 95 % intervals."""
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        number = trainer.current_epoch // self.every_n_epochs
        outcome = evaluate_policy(self.env, cast(Policy, pl_module.policy), self.num_episodes, self.seed)
        self.evaluations[number] = outcome
        metrics = {}
        for of in MEASURES:
            low, high = outcome.interval(of=of)
            metrics |= {
                f"evaluation/{of}": outcome.score(of),
                f"evaluation/{of}_low": low,
                f"evaluation/{of}_high": high,
            }
            metrics |= {f"reference/{name}/{of}": row.score(of) for name, row in self.references.items()}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)
