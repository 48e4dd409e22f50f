"""Shows the person at the console the round, and the learning between rounds."""

from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer

from mile.callbacks.deployment import DeploymentCallback
from mile.humans import Person
from mile.timing.online import OnlinePrediction


class ConsoleCallback(Callback):
    """Shows a person at the console the progress of the experiment.

    Needs a `DeploymentCallback` among the trainer's callbacks.

    Args:
        person: Person who supervises the robot.
    """

    NEEDS: ClassVar = {"person": "person"}

    def __init__(self, person: Person) -> None:
        self.person = person

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the module's predictions and the progress shown with every step."""
        deployment = next(c for c in trainer.callbacks if isinstance(c, DeploymentCallback))

        def progress() -> dict[str, Any]:
            recorded = trainer.datamodule.buffer.recorded(deployment.round)
            return {
                "round": deployment.round + 1,
                "rounds": deployment.rounds.count,
                "episode": len(recorded) + 1,
                "episodes": deployment.episodes_per_round,
            }

        if hasattr(pl_module, "intervention_prob"):
            self.person.in_keys = pl_module.policy.in_keys  # pyright: ignore
            self.person.predict = OnlinePrediction(pl_module)  # pyright: ignore
        self.person.progress = progress

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch and the loss."""
        loss = trainer.callback_metrics.get("train/loss")
        self.person.console.show(
            {
                "phase": "learning",
                "epoch": trainer.current_epoch + 1,
                "epochs": trainer.max_epochs,
                "loss": None if loss is None else round(float(loss), 4),
            }
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if the person asks for it.

        Raises:
            SystemExit: The person asks to stop; this round's learning begins again when the run is continued.
        """
        self.person.heed_stop()
