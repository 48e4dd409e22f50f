"""What all methods have in common: a policy, a loss on recorded steps, and how it is minimised."""

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

from mile.policies import Policy

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
ADAM: MakeOptimizer = partial(Adam, lr=1e-4)


class Loss(NamedTuple):
    """A loss without terms, nats."""

    loss: Tensor


class Method(LightningModule, ABC):
    """Learns a policy π_θ from recorded steps; only the policy is deployed.

    A subclass says what is minimised, and, if it needs to, which steps count how much: `InterventionDataModule` asks.

    Args:
        policy: π_θ, starts as the initial policy.
        optimizer: makes the optimiser from the parameters of all networks.
    """

    def __init__(self, policy: Policy, optimizer: MakeOptimizer = ADAM) -> None:
        super().__init__()
        self.policy = policy
        self.optimizer = optimizer

    @abstractmethod
    def loss(self, batch: TensorDictBase) -> Any:
        """Return `loss`, and any terms it is made of, as a named tuple of scalars, for steps `[batch_size]`.

        A method with a `training_step` of its own may return what that needs.
        """

    def sampling_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return how often each of the steps `[steps]` is drawn, relative to the others; None: all equally often."""
        return None

    def loss_weights(self, steps: TensorDictBase) -> Tensor | None:
        """Return what each of the steps `[steps]` weighs, to be found in a batch as `weight`; None: nothing is."""
        return None

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> Tensor | None:
        """Compute and log the loss and its terms."""
        terms = self.loss(batch)
        logged = {f"train/{name}": value.detach() for name, value in terms._asdict().items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return terms.loss

    def count(self, where: Tensor) -> Tensor:
        """Return the number of steps `[batch_size]` at which a condition holds, as a mean divides by it.

        In training on several ranks this is the mean of their numbers: what DDP then averages over the ranks is the
        mean over the steps of the joint batch, however these are spread.
        """
        count = where.sum().float()
        return self.trainer.strategy.reduce(count, reduce_op="mean") if self._trainer else count

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that are trained, by name."""
        return {name: it for name, it in self.named_children() if any(p.requires_grad for p in it.parameters())}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of the gradient of each network."""
        for name, network in self.networks().items():
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            self.log(
                f"train/gradient_norm_{name}", get_total_norm(gradients), on_step=False, on_epoch=True, sync_dist=True
            )

    def on_train_epoch_end(self) -> None:
        """Stop a run that has diverged.

        Raises:
            ValueError: the epoch's mean loss is not finite.
        """
        loss = self.trainer.callback_metrics.get("train/loss")
        if loss is not None and not loss.isfinite():
            raise ValueError(f"the loss became {loss.item()} in epoch {self.current_epoch}; lower the learning rate")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state of torch's generator, which Monte Carlo draws from."""
        checkpoint["rng_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore it."""
        torch.set_rng_state(checkpoint["rng_state"])

    def configure_optimizers(self) -> Optimizer:
        """Optimise all networks together."""
        return self.optimizer(self.parameters())
