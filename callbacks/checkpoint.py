"""Checkpoints after every round, and when someone asks the run to stop."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from mile.running.signals import on_stop


class RoundCheckpoint(ModelCheckpoint):
    """Keeps the checkpoints of the last two rounds, and turns Ctrl-C, SIGTERM and SIGHUP into one more.

    The first such signal lets the epoch end, so that the run that goes on is the one that was stopped; the second ends
    the program at once. Between epochs, where the robot is deployed, the first one does: what was recorded is on
    disk. The exit status is 128 + the signal's number.

    Args:
        folder: of the run.
        every_n_epochs: epochs a round.
    """

    def __init__(self, folder: str | Path, every_n_epochs: int) -> None:
        super().__init__(
            folder,
            "epoch_{epoch}",  # no "=", which Hydra's command line would want in quotes
            "epoch",
            mode="max",
            save_top_k=2,
            every_n_epochs=every_n_epochs,
            auto_insert_metric_name=False,
        )
        self.signal: int | None = None
        self.learning = False

    @property
    def state_key(self) -> str:
        """Return a name that does not change with the rhythm, as Lightning's own would."""
        return type(self).__qualname__

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the newest checkpoints in the run's own folder; paths that a file names are not heeded."""
        epochs = {path: int(path.stem.removeprefix("epoch_")) for path in Path(str(self.dirpath)).glob("epoch_*.ckpt")}
        newest = sorted(epochs, key=epochs.__getitem__)[-self.save_top_k :]
        self.best_k_models = {str(path): torch.tensor(float(epochs[path])) for path in newest}
        if newest:
            self.kth_best_model_path, self.best_model_path = str(newest[0]), str(newest[-1])
            self.kth_value = self.best_k_models[self.kth_best_model_path]
            self.best_model_score = self.best_k_models[self.best_model_path]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the time (s since 1970): what is logged later will be logged again by a run that goes on from here."""
        checkpoint["saved_at"] = time.time()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen; Lightning restores the handlers of before when it is done."""
        super().on_train_start(trainer, pl_module)
        on_stop(self._stop)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, to the end of the epoch, a signal waits."""
        self.learning = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; Lightning calls the checkpoint's hooks after those of all other callbacks."""
        self.learning = False
        stop = trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)
        if stop:
            self._every_n_epochs = 1
        super().on_train_epoch_end(trainer, pl_module)
        if stop:
            number = self.signal or signal.SIGTERM
            sys.exit(128 + number)

    def _stop(self, number: int) -> None:
        if self.signal is not None or not self.learning:
            sys.exit(128 + number)
        self.signal = number
        rank_zero_only(print)(f"{signal.Signals(number).name}: stopping when the epoch ends; ckpt_path=last goes on")
