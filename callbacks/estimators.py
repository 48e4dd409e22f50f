"""Compares the intervention model's predictions of a person with those of simpler estimators (Sec. VII)."""

import json
from pathlib import Path
from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from tensordict import TensorDictBase
from torch import Tensor

from mile.callbacks.rounds import RoundCallback
from mile.files import read_json, write_text
from mile.policies import Policy
from mile.recordings.history import AsBefore, HistoryNetwork, InTime, free_running, online
from mile.recordings.prediction import learnt_from, never, prediction_metrics
from mile.transitions import decided


class EstimatorCallback(RoundCallback):
    """Predicts the interventions of each round from the rounds before it, in several ways.

    "model" is the module's own prediction, if it has one; "majority" always predicts no intervention. From the second
    round on there are "network", which is trained on the rounds before; "history", which sees ν of the last steps, too;
    and "before", by what ν was one step earlier. Those with a memory know ν of the steps before, and predict whole
    attempts without any of their ν as "model_free", "history_free" and "before_free". Each round's metrics are written
    before it is learnt from.

    Args:
        path: Path of a JSON file {round: {estimator: {metric: value}}}, which is extended if it exists.
        seed: Seed of the networks and of the simulated histories.
    """

    def __init__(self, path: str | Path, seed: int = 0) -> None:
        self.path = Path(path)
        self.seed = seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse, before anything is recorded, what the networks cannot predict from.

        Raises:
            ValueError: The policy does not act on a vector called "observation".
        """
        acts_on = cast(Policy, pl_module.policy).in_keys
        if "observation" not in acts_on:
            raise ValueError(
                "the study's estimators predict from a vector called 'observation', and the policy acts on "
                f"{', '.join(acts_on)}; leave out callbacks=study"
            )

    @rank_zero_only
    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Predict the round's interventions, and write how good the predictions are."""
        buffer = trainer.datamodule.buffer
        steps = buffer.at(buffer.rows([number]))
        if not decided(steps).all():  # estimators of whole attempts would take a gate's ν for the human's
            return

        # predictions
        predictions = {"majority": never(steps), **self._of_module(pl_module, steps)}
        if number:
            predictions |= self._from_earlier_rounds(buffer.at(buffer.rows(range(number))), steps)

        # metrics
        known = read_json(self.path) if self.path.exists() else {}
        metrics = {}
        for name, prob in predictions.items():
            metrics[name] = prediction_metrics(prob, steps["intervened"])
        known[str(number)] = metrics
        write_text(self.path, json.dumps(known, indent=2) + "\n")

    def _of_module(self, module: Any, steps: TensorDictBase) -> dict[str, Tensor]:
        """Return the module's predictions by name; none if it has none."""
        if not hasattr(module, "predict"):
            return {}
        predictions = {"model": module.predict(steps)}
        if getattr(module, "needs_attempts", False):
            model = InTime(module.timing, module.gap, module.cost, module.device)
            predictions["model_free"] = free_running(model, steps, seed=self.seed)
        return predictions

    def _from_earlier_rounds(self, earlier: TensorDictBase, steps: TensorDictBase) -> dict[str, Tensor]:
        """Return the predictions that depend on the rounds before alone, by name."""
        predictions = {"network": learnt_from(earlier, steps, seed=self.seed)}
        estimators = {"history": HistoryNetwork(earlier, seed=self.seed), "before": AsBefore(earlier)}
        for name, estimator in estimators.items():
            predictions[name] = online(estimator, steps)
            predictions[f"{name}_free"] = free_running(estimator, steps, seed=self.seed)
        return predictions
