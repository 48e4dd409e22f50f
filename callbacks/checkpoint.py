"""Checkpoints after every round, and when someone asks the run to stop."""

import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from mile.callbacks.rounds import rounds_of
from mile.running.signals import on_stop


class RoundCheckpoint(ModelCheckpoint):
    """Saves the checkpoints of the last two rounds, and one more when Ctrl-C, SIGTERM or SIGHUP asks the run to stop.

    After the first such signal the epoch is finished, so that a run that is continued equals one that was not stopped;
    a second signal ends the program at once. Between epochs, while the robot is deployed, the first signal ends the
    program: recorded episodes are on disk. The exit status is 128 + the signal's number.

    Args:
        folder: Folder of the run.
        at_desk: Whether a robot is evaluated at the end of epochs, too: the first signal then always ends the program,
            which brings the robot to rest, and a run that is continued learns the round anew.
    """

    NEEDS: ClassVar = {"at_desk": "at_desk"}

    def __init__(self, folder: str | Path, at_desk: bool = False) -> None:
        super().__init__(
            folder,
            "epoch_{epoch}",  # no "=", which Hydra's command line would want in quotes
            "epoch",
            mode="max",
            save_top_k=2,
            auto_insert_metric_name=False,
        )
        self.at_desk = at_desk
        self.signal: int | None = None
        self.learning = False

    @property
    def state_key(self) -> str:
        """Return a name that does not depend on the arguments, as Lightning's own does."""
        return type(self).__qualname__

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save after every round."""
        super().setup(trainer, pl_module, stage)
        self._every_n_epochs = rounds_of(trainer).epochs

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the newest checkpoints in the run's own folder; paths in a checkpoint are not trusted."""
        epochs = {}
        for path in Path(str(self.dirpath)).glob("epoch_*.ckpt"):
            epochs[path] = int(path.stem.removeprefix("epoch_"))
        newest = sorted(epochs, key=epochs.__getitem__)[-self.save_top_k :]
        self.best_k_models = {str(path): torch.tensor(float(epochs[path])) for path in newest}
        if newest:
            self.kth_best_model_path, self.best_model_path = str(newest[0]), str(newest[-1])
            self.kth_value = self.best_k_models[self.kth_best_model_path]
            self.best_model_score = self.best_k_models[self.best_model_path]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the time (s since 1970): later entries of the log are logged again by a run that continues from here."""
        checkpoint["saved_at"] = time.time()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle the signals; Lightning restores the earlier handlers at the end."""
        super().on_train_start(trainer, pl_module)
        on_stop(self._stop)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal wait until the end of the epoch from here on."""
        self.learning = not self.at_desk

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and stop if a signal came; Lightning calls this after the hooks of all other callbacks."""
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
