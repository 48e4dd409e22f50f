"""Shows the person at the console the round, and the learning between rounds."""

from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer

from mile.callbacks.deployment import DeploymentCallback
from mile.callbacks.evaluation import EvaluationCallback
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
                "history": history(deployment, trainer, self.person.period),
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
                "history": self.person.progress()["history"],
            }
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if the person asks for it.

        Raises:
            SystemExit: The person asks to stop; this round's learning begins again when the run is continued.
        """
        self.person.heed_stop()


def history(deployment: DeploymentCallback, trainer: Trainer, period: float) -> list[dict[str, float | None]]:
    """Return what came of each round so far: success with the person, their time in control, and success alone after.

    Args:
        deployment: Callback that deploys.
        trainer: Trainer, among whose callbacks one may evaluate.
        period: Time of a step, s.
    """
    alone: dict[int, float] = {}
    for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(callback, EvaluationCallback):
            for epochs, outcome in callback.evaluations.items():
                alone[deployment.rounds.learnt(epochs)] = outcome.success_rate

    rounds = []
    for number, outcome in enumerate(deployment.outcomes, start=1):
        seconds = float(outcome.interventions.sum()) * period
        rounds.append({"success": outcome.success_rate, "seconds": round(seconds, 1), "alone": alone.get(number)})
    return rounds
