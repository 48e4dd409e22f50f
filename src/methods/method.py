"""The base class of all methods: a policy, a loss on recorded steps, and how it is minimised."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer

from mile.policies import ChunkPolicy, Policy
from mile.transitions import OF_CHUNKS, OF_CORRECTIONS

Entry = str | tuple[str, str]
MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
ADAM: MakeOptimizer = partial(Adam, lr=1e-4)


class Loss(NamedTuple):
    """A loss of a single term.

    Attributes:
        loss: Scalar that is minimised, nats.
    """

    loss: Tensor


class Method(LightningModule, ABC):
    """Learns a policy π_θ from recorded steps; only the policy is deployed.

    A subclass defines the loss. It may also define which steps count how much: `InterventionDataModule` reads
    `sampling_weights` and `loss_weights`. Lightning calls the other methods during a fit, as their docstrings say.

    Args:
        policy: Policy π_θ, at first the initial policy.
        optimizer: Function that makes the optimiser from the parameters of all networks.

    Attributes:
        reads: Entries of a recorded step that it is served, of `mile.transitions.ENTRIES`, where "observation" stands
            for all that the policy observes. No method reads the environment's reward, or the probability that a
            simulated human intervenes with.
        learns_chunks: Whether its policy may be a `ChunkPolicy`; actions are then served with those that follow.
        needs_density: Whether it learns from a difference of log-densities, and not by cloning alone.
        learns_corrections: Whether it learns from steps with ν=1 in which the human did not act, but stopped the robot
            or said which way it should move; otherwise it is not served these.
    """

    reads: tuple[Entry, ...] = (
        "observation",
        "robot_action",
        "human_action",
        "intervened",
        "attended",
        "asked",
        "round",
        "episode",
        "step",
    )
    learns_chunks = False
    needs_density = True
    learns_corrections = False

    def __init__(self, policy: Policy, optimizer: MakeOptimizer = ADAM) -> None:
        super().__init__()
        check_kind(type(self), policy)
        self.policy = policy
        self.optimizer = optimizer

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Entries of a recorded step that it is served, with those that the policy observes."""
        entries: list[Entry] = []
        for entry in self.reads:
            if entry == "observation":
                entries += self.policy.in_keys
            elif entry == ("next", "observation"):
                entries += [("next", name) for name in self.policy.in_keys]
            else:
                entries.append(entry)
        if self.learns_corrections:
            entries += OF_CORRECTIONS
        return (*entries, *OF_CHUNKS) if isinstance(self.policy, ChunkPolicy) else tuple(entries)

    @classmethod
    def needs_proposals(cls, is_discrete: bool) -> bool:
        """Return whether it compares what the human did with what the robot proposed there.

        Others' recordings seldom have the latter; see `mile.datamodules.recorded.check_recorded`.

        Args:
            is_discrete: Whether actions are discrete.
        """
        return False

    @abstractmethod
    def loss(self, batch: TensorDictBase) -> Any:
        """Return `loss`, and any terms it is made of, as a named tuple of scalars, for steps `[batch_size]`.

        A method with a `training_step` of its own may return what that needs.
        """

    def sampling_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return how often each of the steps `[steps]` is drawn, relative to the others; None: all equally often.

        The data module calls this before the first batch of a round.
        """
        return None

    def loss_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return the weight of each of the steps `[steps]` in the loss, served as `weight`; None: no weights.

        The data module calls this before the first batch of a round.
        """
        return None

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> Tensor | None:
        """Return the loss, and log it with its terms; Lightning calls this for each batch, and minimises the result."""
        terms = self.loss(batch)
        logged = {f"train/{name}": value.detach() for name, value in terms._asdict().items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return terms.loss

    def observed(self, steps: TensorDictBase) -> TensorDictBase:
        """Return what the policy observes in steps `[*batch]`, on the module's device."""
        return steps.select(*self.policy.in_keys, *OF_CHUNKS, strict=False).to(self.device)

    def count(self, where: Tensor) -> Tensor:
        """Return the number of steps `[batch_size]` at which a condition holds, for a mean to divide by.

        In training on several ranks this is the mean of their numbers. DDP averages the gradients over the ranks; their
        average is then that of the mean over the steps of the joint batch, however these are spread.
        """
        return self.joint_mean(where.sum().float())

    def joint_mean(self, value: Tensor) -> Tensor:
        """Return the mean of a scalar over the ranks, without a gradient; alone, the scalar itself."""
        if not self._trainer:
            return value
        return self.trainer.strategy.reduce(value, reduce_op="mean")

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that are trained, by name."""
        trained = {}
        for name, network in self.named_children():
            if any(parameter.requires_grad for parameter in network.parameters()):
                trained[name] = network
        return trained

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of the gradient of each network; called after backward, before the optimiser's step."""
        for name, network in self.networks().items():
            gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
            norm = get_total_norm(gradients)
            self.log(f"train/gradient_norm_{name}", norm, on_step=False, on_epoch=True, sync_dist=True)

    def on_train_epoch_end(self) -> None:
        """Stop a run that has diverged; called after the last batch of an epoch.

        Raises:
            ValueError: The epoch's mean loss is not finite.
        """
        loss = self.trainer.callback_metrics.get("train/loss")
        if loss is not None and not loss.isfinite():
            raise ValueError(f"the loss became {loss.item()} in epoch {self.current_epoch}; lower the learning rate")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of torch's generator, which Monte Carlo draws from; called before a checkpoint is written."""
        checkpoint["rng_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the state of torch's generator; called after a checkpoint has been read."""
        torch.set_rng_state(checkpoint["rng_state"])

    def configure_optimizers(self) -> Optimizer:
        """Return one optimiser of all networks; called at the start of a fit."""
        return self.optimizer(self.parameters())


def check_kind(method: type[Method], policy: Policy) -> None:
    """Raise ValueError unless a method learns policies of such a kind."""
    if not policy.has_density and method.needs_density:
        raise ValueError(
            f"{method.__name__} needs a policy with a density, and a {type(policy).__name__} has none; choose "
            "policy.head=gaussian, mixture or flow, or a method that clones: hg_dagger, iwr or sirius"
        )
    if isinstance(policy, ChunkPolicy) and not method.learns_chunks:
        raise ValueError(f"{method.__name__} learns single actions, got a ChunkPolicy; leave out policy.chunk")
