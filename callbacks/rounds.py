"""The round: a deployment, and the epochs that learn from it (Algorithm 1)."""

from dataclasses import dataclass

from lightning import Callback, LightningModule, Trainer

from mile.evaluation import rounds_learnt


@dataclass(frozen=True)
class Rounds:
    """The rounds of a run, numbered from 0, in terms of Lightning's epochs, which are numbered from 0, too.

    Attributes:
        count: Number of rounds N.
        epochs: Number of epochs m in each round.

    Raises:
        ValueError: A number is below 1.
    """

    count: int
    epochs: int

    def __post_init__(self) -> None:
        for name, value in (("num_rounds", self.count), ("epochs_per_round", self.epochs)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def total_epochs(self) -> int:
        """Number of epochs N m of the whole run."""
        return self.count * self.epochs

    def round_of(self, epoch: int) -> int:
        """Return the number of the round that an epoch belongs to; later epochs count as the last round's."""
        return min(epoch // self.epochs, self.count - 1)

    def begins_with(self, epoch: int) -> bool:
        """Return whether an epoch is the first of its round."""
        return epoch % self.epochs == 0

    def ends_with(self, epoch: int) -> bool:
        """Return whether an epoch is the last of its round."""
        return (epoch + 1) % self.epochs == 0

    def learnt(self, epochs: int) -> int:
        """Return the number of rounds that were learnt from, the last one perhaps in part, after so many epochs."""
        return rounds_learnt(epochs, self.epochs)


class RoundCallback(Callback):
    """A callback that is called when a round of Algorithm 1 begins and ends.

    The trainer needs a callback that has `rounds`, such as `DeploymentCallback`. Put this one after it: when
    `on_round_start` is called, the round's episodes are recorded, and nothing is learnt from them yet.
    """

    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Called before the first epoch of a round.

        Args:
            trainer: Lightning's trainer.
            pl_module: Module that is trained; it has not seen the round's steps.
            number: Number of the round, from 0.
        """

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Called after the last epoch of a round.

        Args:
            trainer: Lightning's trainer.
            pl_module: Module that is trained.
            number: Number of the round, from 0.
        """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `on_round_start` before the first epoch of a round."""
        rounds = rounds_of(trainer)
        if rounds.begins_with(trainer.current_epoch):
            self.on_round_start(trainer, pl_module, rounds.round_of(trainer.current_epoch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `on_round_end` after the last epoch of a round."""
        rounds = rounds_of(trainer)
        if rounds.ends_with(trainer.current_epoch):
            self.on_round_end(trainer, pl_module, rounds.round_of(trainer.current_epoch))


def find_rounds(trainer: Trainer) -> Rounds | None:
    """Return the rounds of a run, None if none of the trainer's callbacks has `rounds`."""
    for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        rounds = getattr(callback, "rounds", None)
        if isinstance(rounds, Rounds):
            return rounds
    return None


def rounds_of(trainer: Trainer) -> Rounds:
    """Return the rounds of a run.

    Raises:
        ValueError: None of the trainer's callbacks has `rounds`.
    """
    rounds = find_rounds(trainer)
    if rounds is None:
        raise ValueError("there are no rounds; add a DeploymentCallback to the trainer's callbacks")
    return rounds
