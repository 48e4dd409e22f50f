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
        if hasattr(pl_module, "intervention_prob"):
            self.person.predict = lambda seen: pl_module.intervention_prob(seen.to(pl_module.device)).cpu()  # pyright: ignore

        def progress() -> dict[str, Any]:
            done = trainer.datamodule.buffer.recorded(deployment.round)
            return {
                "round": deployment.round + 1,
                "rounds": deployment.num_rounds,
                "episode": len(done) + 1,
                "episodes": deployment.episodes_per_round,
            }

        self.person.progress = progress

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the learning, from a round's first epoch on."""
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
        """Stop if the person wants to.

        Raises:
            SystemExit: they do; this round's learning begins again when the run goes on.
        """
        self.person.heed_stop()
