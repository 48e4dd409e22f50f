"""Recorded steps as batches for a LightningModule."""

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.log import Episode
from mile.datamodules.passes import batches_of, without_corrections
from mile.datamodules.pictures import shifted
from mile.datamodules.schema import entry_name
from mile.timing.attempts import check_attempts
from mile.transitions import OPTIONAL, next_actions, observed, with_proposals

ACTIONS = {"robot_action", "human_action", "executed_action"}
WEIGHED = ("intervened", "attended", "asked", "round", "episode", ("next", "success"))  # what weights may depend on


@runtime_checkable
class Weighting(Protocol):
    """A module that decides how much each recorded step counts; every `mile.methods.Method` is one."""

    def sampling_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return how often each of the steps `[steps]` is drawn, relative to the others; None: all equally often."""
        ...

    def loss_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return the weight of each of the steps `[steps]` in the loss, served as `weight`; None: no weights."""
        ...


@runtime_checkable
class Contextual(Protocol):
    """A module that learns from steps in any order, but with what it knows of their whole attempts."""

    needs_attempts: bool

    def context(self, steps: TensorDictBase) -> TensorDict | None:
        """Return entries of each of the steps `[steps]`, which are whole attempts one after another; None: none."""
        ...


class InterventionDataModule(LightningDataModule):
    """Serves batches of recorded steps; the buffer may grow between epochs.

    A batch is one gather by row numbers from the memory map: nothing is collated sample by sample. The order of epoch
    e depends on (seed, e) alone. A `Weighting` module can have some steps drawn more often than others, or not at all.
    A `Contextual` one is asked for what it knows of the whole attempts, which batches serve as `context`: when a round
    begins, and anew with the first epoch after each pass over the rows, because the answer depends on the networks.

    A method is served the entries that it declares as `reads`, and no others.

    In a distributed run every rank has a buffer of its own, with the same episodes, and the ranks share each joint
    batch: W ranks learn from the rows that a single process with batches W times as large would learn from.

    Args:
        folder: Folder of the buffer; it is made if it does not exist. Rank r > 0 has `<folder>_rank_<r>`.
        environment: Name of the environment whose steps are recorded.
        batch_size: Number b of steps in a batch.
        batches_per_epoch: Number l of batches in an epoch; None: as many as it takes to see every step once.
        seed: Seed of the batches' order.
        on_device: Keep a copy of all steps on the trainer's device, instead of moving each batch there from the disk.
        restart: Learn from the initial weights in every round, instead of going on from those of the round before.
        stack: Number of newest pictures in a step, where pictures are observed.
        chunk: Number of actions, of whoever acts in a step, that are served with it: its own and those that follow;
            None: its own alone. See `mile.transitions.next_actions`.
        shift: Largest random shift of the pictures in a batch, in each direction, pixels.

    Attributes:
        buffer: All recorded steps; `DeploymentCallback` appends to it.
        rounds: Deployment rounds whose steps are served; None: all.
        epochs_served: Number of epochs that have begun.
    """

    def __init__(
        self,
        folder: str | Path,
        environment: str,
        batch_size: int = 256,
        batches_per_epoch: int | None = None,
        seed: int = 0,
        on_device: bool = False,
        restart: bool = False,
        stack: int = 1,
        shift: int = 0,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        counts = {"batch_size": batch_size, "batches_per_epoch": batches_per_epoch, "stack": stack, "chunk": chunk}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if shift < 0:
            raise ValueError(f"shift (pixels) must be at least 0, got {shift}")

        rank = getattr(rank_zero_only, "rank", 0)  # known before there is a trainer
        self.buffer = InterventionBuffer(f"{folder}_rank_{rank}" if rank else folder, environment, stack)
        self.rounds: Iterable[int] | None = None
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self.on_device = on_device
        self.restart = restart
        self.shift = shift
        self.chunk = chunk
        self.epochs_served = 0
        self._copy = TensorDict({}, [0])
        self._kept_context: TensorDict | None = None
        self._rows_since = 0  # rows served since the context was asked for
        self._weighed_episodes: list[Episode] | None = None
        self._weighed_rows: Any = None

    def train_dataloader(self) -> DataLoader:
        """Return a loader that reads the buffer anew in every epoch."""
        return DataLoader(_Batches(self), batch_size=None, collate_fn=_unchanged)  # pyright: ignore

    def batches(self) -> Iterator[TensorDict]:
        """Yield the next epoch's batches, each of batch size `[batch_size]`.

        One pass over the rows follows another, and batches are cut from the chain of passes: all of them are full.
        """
        rank, ranks = self.share()
        generator = self.next_generator()
        rows, eligible, draw, weight = self._weighed()
        if not len(eligible):
            return
        context = self._latest_context(rows, len(eligible))

        joint = self.batch_size * ranks  # rows that all ranks together learn from in one step
        served = self.batches_per_epoch or math.ceil(len(eligible) / joint)
        own = slice(rank * self.batch_size, (rank + 1) * self.batch_size)
        for shared in itertools.islice(batches_of(joint, len(eligible), draw, generator), served):
            chosen = eligible[shared[own]]
            batch = shifted(self._batch(rows, context, chosen), self.shift, generator)
            self._rows_since += joint
            yield batch if weight is None else batch.set("weight", weight[chosen])

    def share(self) -> tuple[int, int]:
        """Return this process's rank, and the number of ranks."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def next_generator(self, *more: int) -> torch.Generator:
        """Count one more epoch as begun, and return its generator of random numbers.

        Args:
            more: Further numbers that the draws depend on, besides the seed and the epoch.
        """
        entropy = np.random.SeedSequence((self.seed, self.epochs_served, *more)).generate_state(1, np.uint64)
        self.epochs_served += 1
        return torch.Generator().manual_seed(int(entropy[0]))

    def episodes(self) -> list[Episode]:
        """Return the episodes that are served, by round and number."""
        chosen = None if self.rounds is None else set(self.rounds)
        return sorted(episode for episode in self.buffer.episodes if chosen is None or episode.round in chosen)

    def steps(self) -> TensorDict:
        """Return all recorded steps, with what the method reads: from disk, or the copy on the trainer's device.

        Observed pictures are not among them; see `at`.

        A module that does not say what it `reads` gets all but pictures and times, which are float64, as not every
        device has.
        """
        reads = self._reads()
        recorded: Any = self.buffer.steps
        if reads is None:
            recorded = recorded.exclude("frame", ("next", "frame"), "timestamp")
        else:
            recorded = recorded.select(*self._present(reads))
        if not self.on_device:
            return recorded
        if len(self._copy) < len(self.buffer):  # the buffer only grows
            self._copy = recorded.clone().to(self.trainer.strategy.root_device)
        return self._copy

    def at(self, rows: Tensor) -> Any:
        """Return some rows as the method is served them, with stacks of the observed pictures, `[rows]`."""
        return self.buffer.pictures.add_to(with_proposals(self.steps()[rows]), rows, self._reads())

    def _present(self, reads: Iterable[str | tuple[str, str]]) -> list[str | tuple[str, str]]:
        """Return what a method reads beside pictures, if it is recorded at all."""
        numbers = [key for key in reads if key not in self.buffer.pictures]
        recorded = set(self.buffer.steps.keys(True, True))
        missing = set(numbers) - recorded - OPTIONAL
        if missing and self.buffer.episodes:
            present = ", ".join(observed(self.buffer.steps) + tuple(self.buffer.pictures.names))
            raise ValueError(f"the policy acts on '{min(map(entry_name, missing))}', and the recording has {present}")
        return [key for key in numbers if key in recorded] if self.buffer.episodes else []

    def _reads(self) -> tuple[str | tuple[str, str], ...] | None:
        """Return the entries of a step that the method reads, as it declares; None: it does not say."""
        return getattr(self.trainer.lightning_module, "entries", None) if self.trainer else None

    def served(self, rows: Tensor, stride: int = 1) -> TensorDict:
        """Return some rows of whole attempts, every `stride`-th of them, as the method is served them."""
        chosen = torch.arange(0, len(rows), stride)
        return self._batch(rows, self._context(rows), chosen)

    def _batch(self, rows: Tensor, context: TensorDict | None, chosen: Tensor) -> TensorDict:
        batch = self.at(rows[chosen])
        if self.chunk is not None:
            steps = self.steps()
            for name in ACTIONS & set(batch.keys()):
                batch[name] = next_actions(steps[name], steps, rows[chosen].to(steps.device), self.chunk)
        return batch if context is None else batch.set("context", context[chosen])

    def _latest_context(self, rows: Tensor, count: int) -> TensorDict | None:
        """Return the context of the rows, a new one after each pass over the `count` of them that are drawn."""
        last = self._kept_context
        if last is None or len(last) != len(rows) or self._rows_since >= count:
            self._kept_context = self._context(rows)
            self._rows_since = 0
        return self._kept_context

    def _context(self, rows: Tensor) -> TensorDict | None:
        """Return what the method knows, at present, of the whole attempts that the rows belong to."""
        method = self.trainer.lightning_module if self.trainer else None
        if not isinstance(method, Contextual) or not method.needs_attempts:
            return None
        if not len(rows):
            return None
        steps = self.at(rows)
        check_attempts(steps)
        context = method.context(steps.cpu())
        return None if context is None else context.to(rows.device if not self.on_device else method.device)

    def _weighed(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return the rows of the episodes that are served, and which of them are drawn, how often, with what weight.

        The second are numbers of the first, `[drawn]`; how often is of these alone, the weight is of all rows. The
        answer is kept until the episodes change: the method is asked once a round.
        """
        episodes = self.episodes()
        if self._weighed_episodes != episodes:
            self._weighed_rows = self._weigh()
            self._weighed_episodes = episodes
        return self._weighed_rows

    def _weigh(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        rows, draw, weight = self.buffer.rows(self.rounds), None, None
        method = self.trainer.lightning_module if self.trainer else None
        if len(rows) and isinstance(method, Weighting):
            reads = self._reads()
            weighed = [key for key in WEIGHED if reads is None or key in reads]
            steps = self.buffer.steps.select(*weighed)[rows]
            draw, weight = method.sampling_weights(steps), method.loss_weights(steps)
            draw = without_corrections(self.buffer.steps, rows, draw, method)
        if draw is None:
            return rows, torch.arange(len(rows)), None, weight

        # only rows that are drawn at all; equal chances are a plain permutation
        eligible = (draw > 0).nonzero().squeeze(-1)
        draw = draw[eligible]
        if not len(eligible) or (draw == draw[0]).all():
            draw = None
        return rows, eligible, draw, weight

    def state_dict(self) -> dict[str, Any]:
        """Return what decides the epochs to come: the order of their rows, and what is known of these."""
        context = {} if self._kept_context is None else self._kept_context.cpu().to_dict()
        return {
            "seed": self.seed,
            "epochs_served": self.epochs_served,
            "context": context,
            "rows_since": self._rows_since,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the epoch that follows the last one served."""
        self.seed = state_dict["seed"]
        self.epochs_served = state_dict["epochs_served"]
        self._rows_since = state_dict["rows_since"]
        context = state_dict["context"]
        if context:
            self._kept_context = TensorDict(context, [len(context[next(iter(context))])])


class _Batches(IterableDataset):
    """The batches of a data module: those of the next epoch each time that it is iterated."""

    def __init__(self, data: InterventionDataModule) -> None:
        self.data = data

    def __iter__(self) -> Iterator[TensorDict]:
        return self.data.batches()


def _unchanged(batch: TensorDict) -> TensorDict:
    return batch
