"""A progress bar that speaks of rounds."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mile.callbacks.deployment import DeploymentCallback
from mile.callbacks.evaluation import EvaluationCallback
from mile.evaluation import by_round


class RoundProgressBar(ProgressBar):
    """Shows round, episode, epoch, loss, the round's intervention ratio and the last evaluation's return or success.

    An evaluation is shown with its round. Needs a `DeploymentCallback` among the trainer's callbacks; uses an
    `EvaluationCallback` if there is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.progress: Progress | None = None

    def disable(self) -> None:
        """Show nothing (Lightning's interface)."""
        self.progress = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar, on rank 0."""
        if not trainer.is_global_zero:
            return
        self.deployment = next(c for c in trainer.callbacks if isinstance(c, DeploymentCallback))
        self.evaluation = next((c for c in trainer.callbacks if isinstance(c, EvaluationCallback)), None)
        self.deployment.on_episode.append(self.refresh)
        columns = TextColumn("{task.description}"), BarColumn(bar_width=10), TimeRemainingColumn(compact=True)
        self.progress = Progress(*columns, speed_estimate_period=600)
        self.progress.start()
        self.task = self.progress.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch)

    def refresh(self) -> None:
        """Show the state of things; called after each episode and each epoch."""
        if self.progress is not None:
            self.progress.update(self.task, description=self.describe(), completed=self.trainer.current_epoch)

    def describe(self) -> str:
        """Return the line beside the bar."""
        plan = self.deployment
        recorded = self.trainer.datamodule.buffer.recorded(plan.round)
        epoch = self.trainer.current_epoch % plan.epochs_per_round + 1
        parts = [
            f"round {plan.round + 1}/{plan.num_rounds}",
            f"episode {len(recorded)}/{plan.episodes_per_round}",
            f"epoch {epoch}/{plan.epochs_per_round}",
        ]
        if plan.outcomes:
            parts.append(f"human {plan.outcomes[-1].intervention_ratio:.0%}")
        if self.evaluation is not None and self.evaluation.evaluations:
            number, last = list(by_round(self.evaluation.evaluations, plan.epochs_per_round).items())[-1]
            metric = getattr(self.evaluation.env, "metric", "return")
            score = f"success {last.success_rate:.0%}" if metric == "success" else f"return {last.mean_return:.0f}"
            parts.append(f"{score} (round {number})")
        return " · ".join(parts)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count an epoch."""
        self.refresh()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self.progress is not None:
            self.progress.update(self.task, completed=trainer.current_epoch)
            self.progress.stop()
