"""Deployment rounds: Algorithm 1 within one `Trainer.fit`."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.datamodules.sharing import share_episodes
from mile.evaluation import Evaluation, summarize
from mile.files import read_json
from mile.policies import Policy
from mile.recordings.effort import effort
from mile.transitions import DEMONSTRATION

JUDGED = ("round", "episode", "step", "timestamp", "intervened", ("next", "reward"), ("next", "success"))


class DeploymentCallback(Callback):
    """Lets the policy act under a human's eyes before the first epoch of every round.

    A round may start learning from the initial weights (the datamodule's `restart`). In a distributed run the ranks
    share a simulated round's episodes out among themselves, and then exchange them. The rounds are counted from the
    epochs, and episodes from the buffer: a run that was killed collects just what is missing. Sets the trainer's
    `max_epochs` to num_rounds × epochs_per_round. The trainer's datamodule must be an `InterventionDataModule`, the
    module must have a `policy`.

    Args:
        env: with an `InterventionTransform`.
        num_rounds: N.
        episodes_per_round: k; None: the buffer holds a recording of one round, and nobody is deployed.
        epochs_per_round: m.
        seed: of the episodes.
        deterministic: the robot takes its most probable action; otherwise it samples.
        before_round: called with the policy before every round but the first.
        match: folder of a finished run; the rounds end as soon as as many intervention steps are recorded as it has.

    Raises:
        ValueError: a number is below 1, a recording is to have several rounds, or there is no finished run to match.

    Attributes:
        round: i, from 0.
        outcomes: of each round deployed so far.
        on_episode: called without arguments after each episode.
    """

    def __init__(
        self,
        env: EnvBase,
        num_rounds: int,
        episodes_per_round: int | None,
        epochs_per_round: int,
        seed: int = 0,
        deterministic: bool = True,
        before_round: Callable[[Policy], None] | None = None,
        match: str | Path | None = None,
    ) -> None:
        for name, value in (
            ("num_rounds", num_rounds),
            ("episodes_per_round", episodes_per_round),
            ("epochs_per_round", epochs_per_round),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if episodes_per_round is None and num_rounds > 1:
            raise ValueError(f"a recording is learnt from in one round, got num_rounds {num_rounds}")
        self.env = env
        self.num_rounds = num_rounds
        self.episodes_per_round = episodes_per_round
        self.epochs_per_round = epochs_per_round
        self.seed = seed
        self.deterministic = deterministic
        self.before_round = before_round
        self.until = None if match is None else _interventions_of(Path(match))
        self.initial: dict[str, Any] = {}
        self.round = 0
        self.outcomes: list[Evaluation] = []
        self.on_episode: list[Callable[[], None]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the outcomes so far."""
        return {"outcomes": [asdict(outcome) for outcome in self.outcomes]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the outcomes of the run that is continued: no deployment is summed up, or logged, twice."""
        self.outcomes = [Evaluation(**outcome) for outcome in state_dict["outcomes"]]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Fix the number of epochs, and keep the weights that the run begins with."""
        trainer.fit_loop.max_epochs = self.num_rounds * self.epochs_per_round
        if trainer.datamodule.restart:  # a checkpoint is read after this
            self.initial = deepcopy(pl_module.state_dict())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deploy before Lightning looks at the data for the first time, in a resumed run too."""
        buffer = trainer.datamodule.buffer
        found = sum(episode.round != DEMONSTRATION for episode in buffer.episodes)
        if found and self.episodes_per_round is not None and not trainer.datamodule.epochs_served:
            rank_zero_warn(f"'{buffer.folder}' holds {found} episodes; they are not collected anew")
        self._begin(trainer, pl_module, epoch=trainer.datamodule.epochs_served)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deploy if this epoch is the first of its round."""
        self._begin(trainer, pl_module, epoch=trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Return to the initial weights, if that is wanted, with an optimiser that knows nothing."""
        if self.initial and self.round and not batch_idx and trainer.current_epoch % self.epochs_per_round == 0:
            pl_module.load_state_dict(self.initial)
            for optimizer in trainer.optimizers:
                optimizer.state.clear()

    def _begin(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        self.round = min(epoch // self.epochs_per_round, self.num_rounds - 1)
        if self._enough(trainer):  # a run that ended there, and is continued
            self.round = min(self.round, max(episode.round for episode in trainer.datamodule.buffer.episodes))
        trainer.datamodule.rounds = range(DEMONSTRATION, self.round + 1)
        if len(self.outcomes) <= self.round:
            self.deploy(trainer, pl_module)
        if self._enough(trainer):
            trainer.fit_loop.max_epochs = (self.round + 1) * self.epochs_per_round

    def deploy(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect this round's episodes that the buffer does not hold yet."""
        buffer = trainer.datamodule.buffer

        def keep(steps: TensorDictBase) -> None:
            buffer.append(steps)
            for listener in self.on_episode:
                listener()

        share_episodes(buffer)  # a kill may have left some on one rank alone
        k = self.episodes_per_round or 0
        missing = sorted(set(range(self.round * k, (self.round + 1) * k)) - buffer.recorded(self.round))
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
        played = self.round if buffer.recorded(self.round) else DEMONSTRATION  # all that some recordings hold
        if not buffer.recorded(played):
            raise ValueError(f"'{buffer.folder}' holds no recording to learn from; say where one is: data.from=…")

        # what came of it, without the pictures
        judged = buffer.steps.select(*JUDGED)
        for number in range(len(self.outcomes), self.round):
            self.outcomes.append(summarize(judged[buffer.rows([number])]))
        steps = judged[buffer.rows([played])]
        self.outcomes.append(summarize(steps))
        if self.until is not None and not self._enough(trainer) and self.round + 1 == self.num_rounds:
            rank_zero_warn(f"{self.num_rounds} rounds have fewer than the {self.until} intervention steps to match")
        outcome = self.outcomes[-1]
        if not outcome.interventions.sum():
            rank_zero_warn(f"no interventions in round {self.round}: the policy learns from their absence alone")
        metrics: dict[str, Any] = {
            "deployment/return": outcome.mean_return,
            "deployment/success": outcome.success_rate,
            "deployment/intervention_ratio": outcome.intervention_ratio,
            "deployment/interventions": int(outcome.interventions.sum()),
            **{f"effort/{name}": value for name, value in effort(steps)._asdict().items()},
        }
        if outcome.successes.any():
            metrics["effort/steps_per_success"] = float(outcome.interventions.sum() / outcome.successes.sum())
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self.round)

    def _enough(self, trainer: Trainer) -> bool:
        """Are as many intervention steps recorded as were to be matched?"""
        if self.until is None:
            return False
        buffer = trainer.datamodule.buffer
        rows = buffer.rows({episode.round for episode in buffer.episodes} - {DEMONSTRATION})
        return len(rows) > 0 and int(buffer.steps["intervened"][rows].sum()) >= self.until


def _interventions_of(folder: Path) -> int:
    """Return the intervention steps of a finished run."""
    try:
        rounds = read_json(folder / "deployment.json")
        return sum(outcome["interventions"] for outcome in rounds.values())
    except (OSError, ValueError, KeyError, AttributeError):
        raise ValueError(f"'{folder}' holds no finished run to match; give the folder of one") from None
