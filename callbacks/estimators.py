"""Does the intervention model predict a person better than simpler estimators do (Sec. VII)?"""

import json
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mile.files import read_json, write_text
from mile.recordings.prediction import learnt_from, never, prediction_metrics


class EstimatorCallback(Callback):
    """Predicts the interventions of each round from the rounds before it, in three ways.

    "model" is the module's own p(ν=1|s), if it has one; "majority" always predicts none; "network" is trained on the
    rounds before, and so missing in the first. Metrics of each round go into a file as soon as they are known.

    Args:
        every_n_epochs: as many as a round has.
        path: JSON file, {round: {estimator: {metric: value}}}; goes on if it exists.
        seed: of the network.
    """

    def __init__(self, every_n_epochs: int, path: str | Path, seed: int = 0) -> None:
        self.every_n_epochs = every_n_epochs
        self.path = Path(path)
        self.seed = seed

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predict, if this epoch is the first of its round."""
        number, epoch = divmod(trainer.current_epoch, self.every_n_epochs)
        if epoch:
            return
        buffer = trainer.datamodule.buffer
        steps = buffer.steps[buffer.rows([number])]
        predictions = {"majority": never(steps)}
        if hasattr(pl_module, "intervention_prob"):
            observation = steps["observation"].to(pl_module.device)
            predictions["model"] = pl_module.intervention_prob(observation).cpu().double()  # pyright: ignore
        if number:
            before = buffer.steps[buffer.rows(range(number))]
            predictions["network"] = learnt_from(before, steps, seed=self.seed)
        known = read_json(self.path) if self.path.exists() else {}
        known[str(number)] = {name: prediction_metrics(it, steps["intervened"]) for name, it in predictions.items()}
        write_text(self.path, json.dumps(known, indent=2) + "\n")
