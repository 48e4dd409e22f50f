"""What the person at the console sees besides the robot: the round, and the learning between rounds."""

from typing import Any

from lightning import Callback, LightningModule, Trainer

from mile.callbacks.deployment import DeploymentCallback
from mile.humans import Person


class ConsoleCallback(Callback):
    """Tells a person at the console how far the experiment is.

    Needs a `DeploymentCallback` among the trainer's callbacks.

    Args:
        person: who oversees the robot.
    """

    def __init__(self, person: Person) -> None:
        self.person = person

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have the module's predictions, and the state of things, shown with every step."""
        deployment = next(c for c in trainer.callbacks if isinstance(c, DeploymentCallback))
        self.person.predict = getattr(pl_module, "intervention_prob", None)

        def progress() -> dict[str, Any]:
            done = trainer.datamodule.buffer.recorded(deployment.round)
            return {
                "round": deployment.round + 1,
                "rounds": deployment.num_rounds,
                "episode": len(done) + 1,
                "episodes": deployment.episodes_per_round,
            }

        self.person.progress = progress

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the learning."""
        loss = trainer.callback_metrics.get("train/loss")
        self.person.console.show(
            {
                "phase": "learning",
                "epoch": trainer.current_epoch + 1,
                "epochs": trainer.max_epochs,
                "loss": None if loss is None else round(float(loss), 4),
            }
        )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that it is over."""
        self.person.console.show({"phase": "done"})
