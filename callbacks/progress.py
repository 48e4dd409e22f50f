"""A progress bar that shows rounds."""

from operator import itemgetter

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mile.callbacks.deployment import DeploymentCallback
from mile.callbacks.evaluation import EvaluationCallback


class RoundProgressBar(ProgressBar):
    """Shows round, episode, epoch, the round's intervention ratio, and return or success in the last evaluation.

    An evaluation is shown with the round that was learnt from last. Needs a `DeploymentCallback` among the trainer's
    callbacks; uses an `EvaluationCallback` if there is one.
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
        """Show the progress; called after each episode and each epoch."""
        if self.progress is not None:
            self.progress.update(self.task, description=self.describe(), completed=self.trainer.current_epoch)

    def describe(self) -> str:
        """Return the line beside the bar."""
        deployment, rounds = self.deployment, self.deployment.rounds
        recorded = self.trainer.datamodule.buffer.recorded(deployment.round)
        epoch = self.trainer.current_epoch % rounds.epochs + 1
        episodes = f"episode {len(recorded)}/{deployment.episodes_per_round}"
        if deployment.episodes_per_round is None:  # a recording
            episodes = f"{len(recorded)} episodes"
        parts = [f"round {deployment.round + 1}/{rounds.count}", episodes, f"epoch {epoch}/{rounds.epochs}"]
        if deployment.outcomes:
            parts.append(f"human {deployment.outcomes[-1].intervention_ratio:.0%}")

        # the last evaluation
        if self.evaluation is not None and self.evaluation.evaluations:
            epochs, last = max(self.evaluation.evaluations.items(), key=itemgetter(0))
            metric = getattr(self.evaluation.env, "metric", "return")
            score = f"success {last.success_rate:.0%}" if metric == "success" else f"return {last.mean_return:.0f}"
            parts.append(f"{score} (round {rounds.learnt(epochs)})")
        return " · ".join(parts)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the progress."""
        self.refresh()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Close the bar, also after an error."""
        if self.progress is not None:
            self.progress.update(self.task, completed=trainer.current_epoch)
            self.progress.stop()
