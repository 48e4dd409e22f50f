"""Deployment rounds: Algorithm 1 within one `Trainer.fit`."""

from collections.abc import Callable
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.datamodules.sharing import share_episodes
from mile.evaluation import Evaluation, summarize
from mile.policies import Policy


class DeploymentCallback(Callback):
    """Lets the policy act under a human's eyes before the first epoch of every round.

    In a distributed run the ranks share a simulated round's episodes out among themselves, and then exchange them. The
    rounds are counted from the epochs, and episodes from the buffer: a run that was killed collects just what is
    missing. Sets the trainer's `max_epochs` to num_rounds × epochs_per_round. The trainer's datamodule must be an
    `InterventionDataModule`, the module must have a `policy`.

    Args:
        env: with an `InterventionTransform`.
        num_rounds: N.
        episodes_per_round: k.
        epochs_per_round: m.
        seed: of the episodes.
        deterministic: the robot takes its most probable action; otherwise it samples.
        before_round: called with the policy before every round but the first.

    Attributes:
        round: i, from 0.
        outcomes: of each round deployed so far.
        on_episode: called without arguments after each episode.
    """

    def __init__(
        self,
        env: EnvBase,
        num_rounds: int,
        episodes_per_round: int,
        epochs_per_round: int,
        seed: int = 0,
        deterministic: bool = True,
        before_round: Callable[[Policy], None] | None = None,
    ) -> None:
        for name, value in (
            ("num_rounds", num_rounds),
            ("episodes_per_round", episodes_per_round),
            ("epochs_per_round", epochs_per_round),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.env = env
        self.num_rounds = num_rounds
        self.episodes_per_round = episodes_per_round
        self.epochs_per_round = epochs_per_round
        self.seed = seed
        self.deterministic = deterministic
        self.before_round = before_round
        self.round = 0
        self.outcomes: list[Evaluation] = []
        self.on_episode: list[Callable[[], None]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Fix the number of epochs."""
        trainer.fit_loop.max_epochs = self.num_rounds * self.epochs_per_round

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deploy before Lightning looks at the data for the first time, in a resumed run too."""
        buffer = trainer.datamodule.buffer
        if buffer.episodes and not trainer.datamodule.epochs_served:
            rank_zero_warn(f"'{buffer.folder}' holds {len(buffer.episodes)} episodes; they are not collected anew")
        self._begin(trainer, pl_module, epoch=trainer.datamodule.epochs_served)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deploy if this epoch is the first of its round."""
        self._begin(trainer, pl_module, epoch=trainer.current_epoch)

    def _begin(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        self.round = min(epoch // self.epochs_per_round, self.num_rounds - 1)
        trainer.datamodule.rounds = range(self.round + 1)
        if len(self.outcomes) <= self.round:
            self.deploy(trainer, pl_module)

    def deploy(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect this round's episodes that the buffer does not hold yet."""
        buffer = trainer.datamodule.buffer

        def keep(steps: TensorDictBase) -> None:
            buffer.append(steps)
            for listener in self.on_episode:
                listener()

        share_episodes(buffer)  # a kill may have left some on one rank alone
        first = self.round * self.episodes_per_round
        missing = sorted(set(range(first, first + self.episodes_per_round)) - buffer.recorded(self.round))
        if missing and self.round and self.before_round is not None:
            self.before_round(cast(Policy, pl_module.policy))
        # simulated episodes are the same wherever they are played; a robot or a person is at rank 0 alone
        ranks = trainer.world_size if hasattr(self.env, "schedule") else 1
        own = missing[trainer.global_rank :: ranks] if trainer.global_rank < ranks else []
        if own:
            collect_episodes(
                self.env,
                cast(Policy, pl_module.policy),
                own,
                seed=self.seed,
                deterministic=self.deterministic,
                deployment_round=self.round,
                on_episode=keep,
            )
        share_episodes(buffer)
        self.outcomes = [summarize(buffer.steps[buffer.rows([i])]) for i in range(self.round + 1)]
        outcome = self.outcomes[-1]
        if not outcome.interventions.sum():
            rank_zero_warn(f"no interventions in round {self.round}: the policy learns from their absence alone")
        metrics: dict[str, Any] = {
            "deployment/return": outcome.mean_return,
            "deployment/success": outcome.success_rate,
            "deployment/intervention_ratio": outcome.intervention_ratio,
            "deployment/interventions": int(outcome.interventions.sum()),
        }
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self.round)
