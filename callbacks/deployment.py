"""Deployment rounds: Algorithm 1 within one `Trainer.fit`."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from mile.callbacks.rounds import RoundCallback, Rounds
from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer
from mile.datamodules.sharing import share_episodes
from mile.envs import schedule_of
from mile.evaluation import Evaluation, summarize
from mile.files import read_json
from mile.humans.oversight import Oversight
from mile.policies import Policy
from mile.recordings.effort import effort
from mile.transitions import DEMONSTRATION

OUTCOME = ("round", "episode", "step", "timestamp", "intervened", "asked", ("next", "reward"), ("next", "success"))
FRAMES = ("frame", ("next", "frame"))


class DeploymentCallback(RoundCallback):
    """Deploys the policy under a human's supervision before the first epoch of every round.

    A round may start learning from the initial weights (the datamodule's `restart`). In a distributed run the ranks
    share a simulated round's episodes among themselves, and then exchange them. Rounds are counted by epochs, episodes
    by what the buffer holds: a run that was killed collects only the missing episodes. Sets the trainer's `max_epochs`
    to num_rounds × epochs_per_round. The trainer's datamodule must be an `InterventionDataModule`, the module must
    have a `policy`.

    Args:
        env: Environment with an `InterventionTransform`.
        num_rounds: Number of rounds N.
        episodes_per_round: Number of episodes k in a round; None: the buffer holds a recording of one round, and
            nothing is deployed.
        epochs_per_round: Number of epochs m in a round.
        seed: Seed of the episodes.
        deterministic: Whether the robot takes its most probable action; otherwise it samples.
        before_round: Function that is called before every round but the first, with the policy to deploy and the
            outcomes of the rounds before.
        oversight: What decides in `env` which robots the human attends; it learns before every round but the first.
        match: Folder of a finished run; rounds stop once this run has as many intervention steps as that one.

    Attributes:
        rounds: Rounds of the run.
        round: Number of the current round, from 0.
        outcomes: Outcome of each round deployed so far.
        on_episode: Functions that are called without arguments after each episode.

    Raises:
        ValueError: A number is below 1, a recording has several rounds, or there is no finished run to match.

    Source: Algorithm 1.
    """

    NEEDS: ClassVar = {"env": "supervised", "before_round": "before_round", "oversight": "oversight"}

    def __init__(
        self,
        env: EnvBase,
        num_rounds: int,
        episodes_per_round: int | None,
        epochs_per_round: int,
        seed: int = 0,
        deterministic: bool = True,
        before_round: Callable[[Policy, Sequence[Evaluation]], None] | None = None,
        oversight: Oversight | None = None,
        match: str | Path | None = None,
    ) -> None:
        if episodes_per_round is not None and episodes_per_round < 1:
            raise ValueError(f"episodes_per_round must be at least 1, got {episodes_per_round}")
        if episodes_per_round is None and num_rounds > 1:
            raise ValueError(f"a recording is learnt from in one round, got num_rounds {num_rounds}")
        self.env = env
        self.rounds = Rounds(num_rounds, epochs_per_round)
        self.episodes_per_round = episodes_per_round
        self.seed = seed
        self.deterministic = deterministic
        self.before_round = before_round
        self.oversight = oversight
        self.target = None if match is None else _interventions_of(Path(match))
        self.initial: dict[str, Any] = {}
        self.round = 0
        self.outcomes: list[Evaluation] = []
        self.on_episode: list[Callable[[], None]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the outcomes so far, for a checkpoint, and how many rounds there are."""
        return {"outcomes": [asdict(outcome) for outcome in self.outcomes], "rounds": self.rounds.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the outcomes from a checkpoint, so that no deployment is summed up or logged twice."""
        self.outcomes = [Evaluation(**outcome) for outcome in state_dict["outcomes"]]
        count = state_dict.get("rounds", 0)  # which runs of before do not say
        self.rounds = replace(self.rounds, count=max(self.rounds.count, count))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Set the number of epochs, and keep the weights that the run begins with."""
        trainer.fit_loop.max_epochs = self.rounds.total_epochs
        if trainer.datamodule.restart:  # a checkpoint is read after this
            self.initial = deepcopy(pl_module.state_dict())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Deploy before Lightning looks at the data for the first time, in a resumed run too."""
        buffer, served = trainer.datamodule.buffer, trainer.datamodule.epochs_served
        trainer.fit_loop.max_epochs = self.rounds.total_epochs  # a checkpoint may know of more
        deployed = sum(episode.round != DEMONSTRATION for episode in buffer.episodes)
        if deployed and self.episodes_per_round is not None and not served:
            rank_zero_warn(f"'{buffer.folder}' holds {deployed} episodes; they are not collected anew")
        self._begin(trainer, pl_module, epoch=served)

    def add_round(self, trainer: Trainer) -> None:
        """Have one round more than was planned; call it before the last one ends."""
        self.rounds = replace(self.rounds, count=self.rounds.count + 1)
        trainer.fit_loop.max_epochs = self.rounds.total_epochs

    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Deploy, unless `on_fit_start` has done so for this round."""
        self._begin(trainer, pl_module, epoch=trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Return to the initial weights with a fresh optimiser before a round's first batch, if `restart` is set.

        Not earlier: other callbacks ask the deployed policy in `on_round_start`.
        """
        is_first = not batch_idx and self.rounds.begins_with(trainer.current_epoch)
        if self.initial and self.round and is_first:
            pl_module.load_state_dict(self.initial)
            for optimizer in trainer.optimizers:
                optimizer.state.clear()

    def _begin(self, trainer: Trainer, pl_module: LightningModule, epoch: int) -> None:
        """Deploy in the round of an epoch, unless that is done, and serve what is recorded until then."""
        buffer = trainer.datamodule.buffer
        self.round = self.rounds.round_of(epoch)
        if self._has_enough(buffer):  # a run that ended there, and is continued
            last = max(episode.round for episode in buffer.episodes)
            self.round = min(self.round, last)

        trainer.datamodule.rounds = range(DEMONSTRATION, self.round + 1)
        if len(self.outcomes) <= self.round:
            self.deploy(trainer, pl_module)
        if self._has_enough(buffer):
            trainer.fit_loop.max_epochs = (self.round + 1) * self.rounds.epochs

    def deploy(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the episodes of this round that the buffer does not hold yet, and log their outcome.

        Raises:
            ValueError: Nothing is to be deployed, and the buffer holds no recording.
        """
        buffer, policy = trainer.datamodule.buffer, cast(Policy, pl_module.policy)

        # what is missing
        share_episodes(buffer)  # a kill may have left some on one rank alone
        k = self.episodes_per_round or 0
        missing = sorted(set(range(self.round * k, (self.round + 1) * k)) - buffer.recorded(self.round))
        if missing and self.round and self.before_round is not None:
            self.before_round(policy, self.outcomes)
        if missing and self.round and self.oversight is not None:
            earlier = buffer.rows(range(DEMONSTRATION, self.round))
            self.oversight.learn(pl_module, buffer.at(earlier, without=FRAMES))  # pyright: ignore

        # this rank's share of it
        own = self._share(missing, trainer)
        if own:
            self._collect(own, policy, buffer)
        share_episodes(buffer)

        # its outcome
        steps = self._sum_up(buffer)
        self._warn(buffer)
        self._log(trainer, steps)

    def _share(self, episodes: list[int], trainer: Trainer) -> list[int]:
        """Return the episodes that this rank plays; a robot or a person is at rank 0 alone."""
        is_simulated = schedule_of(self.env) is not None  # episodes are then the same wherever they are played
        if is_simulated:
            return episodes[trainer.global_rank :: trainer.world_size]
        return episodes if trainer.global_rank == 0 else []

    def _collect(self, episodes: list[int], policy: Policy, buffer: InterventionBuffer) -> None:
        """Deploy the policy in some episodes; each is recorded as soon as it ends."""

        def record(steps: TensorDictBase) -> None:
            buffer.append(steps)
            for listener in self.on_episode:
                listener()

        collect_episodes(
            self.env,
            policy,
            episodes,
            seed=self.seed,
            deterministic=self.deterministic,
            deployment_round=self.round,
            on_episode=record,
        )

    def _sum_up(self, buffer: InterventionBuffer) -> TensorDictBase:
        """Add the outcomes of this round and of earlier ones that lack theirs, and return this round's steps."""
        recorded = self.round if buffer.recorded(self.round) else DEMONSTRATION  # some recordings hold nothing else
        if not buffer.recorded(recorded):
            raise ValueError(f"'{buffer.folder}' holds no recording to learn from; say where one is: data.from=…")

        steps = buffer.steps.select(*OUTCOME)  # without the pictures
        for number in range(len(self.outcomes), self.round):
            self.outcomes.append(summarize(steps[buffer.rows([number])]))
        own = steps[buffer.rows([recorded])]
        self.outcomes.append(summarize(own))
        return own

    def _warn(self, buffer: InterventionBuffer) -> None:
        """Warn if the interventions are too few."""
        is_last = self.round + 1 == self.rounds.count
        if self.target is not None and is_last and not self._has_enough(buffer):
            rank_zero_warn(f"{self.rounds.count} rounds have fewer than the {self.target} intervention steps to match")
        if not self.outcomes[-1].interventions.sum():
            rank_zero_warn(f"no interventions in round {self.round}: the policy learns from their absence alone")

    def _log(self, trainer: Trainer, steps: TensorDictBase) -> None:
        """Log the outcome of this round, and what it cost the human."""
        outcome = self.outcomes[-1]
        metrics: dict[str, Any] = {
            "deployment/return": outcome.mean_return,
            "deployment/success": outcome.success_rate,
            "deployment/intervention_ratio": outcome.intervention_ratio,
            "deployment/interventions": int(outcome.interventions.sum()),
        }
        for name, value in effort(steps)._asdict().items():
            metrics[f"effort/{name}"] = value
        if outcome.successes.any():
            metrics["effort/steps_per_success"] = float(outcome.interventions.sum() / outcome.successes.sum())
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=self.round)

    def _has_enough(self, buffer: InterventionBuffer) -> bool:
        """Return whether as many intervention steps are recorded as are to be matched."""
        if self.target is None:
            return False
        deployed = {episode.round for episode in buffer.episodes} - {DEMONSTRATION}
        rows = buffer.rows(deployed)
        return len(rows) > 0 and int(buffer.steps["intervened"][rows].sum()) >= self.target


def _interventions_of(folder: Path) -> int:
    """Return the number of intervention steps of a finished run."""
    try:
        rounds = read_json(folder / "deployment.json")
        return sum(outcome["interventions"] for outcome in rounds.values())
    except (OSError, ValueError, KeyError, AttributeError):
        raise ValueError(f"'{folder}' holds no finished run to match; give the folder of one") from None
