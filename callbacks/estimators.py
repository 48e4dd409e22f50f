"""Compares the intervention model's predictions of a person with those of simpler estimators (Sec. VII)."""

import json
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mile.callbacks.rounds import RoundCallback
from mile.files import read_json, write_text
from mile.recordings.prediction import learnt_from, never, prediction_metrics


class EstimatorCallback(RoundCallback):
    """Predicts the interventions of each round from the rounds before it, in three ways.

    "model" is the module's own p(ν=1|s), if it has one; "majority" always predicts no intervention; "network" is
    trained on the rounds before, and so missing in the first. Each round's metrics are written before it is learnt
    from.

    Args:
        path: Path of a JSON file {round: {estimator: {metric: value}}}, which is extended if it exists.
        seed: Seed of the network.
    """

    def __init__(self, path: str | Path, seed: int = 0) -> None:
        self.path = Path(path)
        self.seed = seed

    @rank_zero_only
    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Predict the round's interventions, and write how good the predictions are."""
        buffer = trainer.datamodule.buffer
        steps = buffer.steps[buffer.rows([number])]

        # predictions
        predictions = {"majority": never(steps)}
        if hasattr(pl_module, "intervention_prob"):
            observation = steps["observation"].to(pl_module.device)
            predictions["model"] = pl_module.intervention_prob(observation).cpu().double()  # pyright: ignore
        if number:
            before = buffer.steps[buffer.rows(range(number))]
            predictions["network"] = learnt_from(before, steps, seed=self.seed)

        # metrics
        known = read_json(self.path) if self.path.exists() else {}
        metrics = {}
        for name, prob in predictions.items():
            metrics[name] = prediction_metrics(prob, steps["intervened"])
        known[str(number)] = metrics
        write_text(self.path, json.dumps(known, indent=2) + "\n")
