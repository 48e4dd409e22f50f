"""Measures how far a method's policy comes to differ from one that clones the same batches alone."""

from copy import deepcopy
from typing import Any, cast

import torch
from jaxtyping import Float
from lightning import LightningModule, Trainer
from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import Categorical
from torch.optim import Optimizer

from mile.callbacks.learning import steps_of_rounds
from mile.callbacks.rounds import RoundCallback, rounds_of
from mile.losses import action_nll
from mile.methods import Method
from mile.policies import ChunkPolicy, Policy
from mile.policies.chunk import first_action
from mile.policies.sampling import mode
from mile.transitions import acted


class CloningAloneCallback(RoundCallback):
    """Trains a second policy by J₂ alone, and logs how far the method's policy ends from it.

    The second policy begins each round's learning with the method's weights and learns from the same batches, by the
    same kind of optimiser with the same settings, which is fresh where the method's is. It minimises `action_nll`, and
    so lacks all that the method learns besides cloning the human. The run itself is not changed.

    * `cloning/distance_intervened`, `cloning/distance_not_intervened`: mean distance (`action_distance`) between the
      two policies over recorded steps with ν=1 and ν=0, as a share of the mean distance that the method's policy moved
      in the round. At 0 the method is cloning alone, about 1 is as far as the whole way.

    The module must be a `Method`; one that minimises no loss, such as RLIF, is left alone. Put this callback after the
    `DeploymentCallback`, which restarts.
    """

    def __init__(self) -> None:
        self.before: Policy | None = None
        self.cloned: Policy | None = None
        self.optimizer: Optimizer | None = None
        self.restored: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimiser, for a run that is stopped within a round."""
        if self.before is None or self.cloned is None or self.optimizer is None:
            return {}
        return {
            "before": self.before.state_dict(),
            "cloned": self.cloned.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state until there is a policy to put it into."""
        self.restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put a restored state into policies and an optimiser."""
        if not self.restored:
            return
        self.before = deepcopy(cast(Policy, pl_module.policy))
        self.before.load_state_dict(self.restored["before"])
        cloned, optimizer = self._begin(cast(Method, pl_module))
        cloned.load_state_dict(self.restored["cloned"])
        optimizer.load_state_dict(self.restored["optimizer"])

    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Forget where the last round's learning began, for a round that may hold nothing to learn from."""
        self.before = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a round's learning with the method's weights, after a restart."""
        is_first = not batch_idx and rounds_of(trainer).begins_with(trainer.current_epoch)
        if not is_first or not pl_module.automatic_optimization:
            return
        self.before = deepcopy(cast(Policy, pl_module.policy))
        method_is_fresh = not any(optimizer.state for optimizer in trainer.optimizers)
        if self.cloned is None or method_is_fresh:
            self._begin(cast(Method, pl_module))
        else:
            self.cloned.load_state_dict(self.before.state_dict())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: TensorDictBase, batch_idx: int
    ) -> None:
        """Take a gradient step of J₂ on the batch that the method has learnt from."""
        if self.cloned is None or self.optimizer is None:
            return
        human_action = batch["human_action"]
        by_human = acted(human_action)  # not where they corrected without an action
        if isinstance(self.cloned, ChunkPolicy):
            by_human = by_human[..., 0]  # the step's own action
        count = cast(Method, pl_module).count(by_human)
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with trainer.strategy.precision_plugin.train_step_context(), torch.random.fork_rng(devices):
            loss = action_nll(self.cloned.at(batch), human_action, by_human, count)  # a head may draw random numbers

        # the mean over the ranks of a distributed run, as DDP takes it
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.cloned.parameters():
            if parameter.grad is not None:
                parameter.grad = cast(Tensor, trainer.strategy.reduce(parameter.grad, reduce_op="mean"))
        self.optimizer.step()

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Log how far the two policies are apart on recorded steps."""
        steps = steps_of_rounds(trainer, number)
        if self.before is None or self.cloned is None or not len(steps):
            return
        steps = steps.to(pl_module.device)
        intervened = steps["intervened"]

        policy, metrics = cast(Policy, pl_module.policy), {}
        moved = action_distance(policy, self.before, steps)
        apart = action_distance(policy, self.cloned, steps)
        for name, where in (("intervened", intervened), ("not_intervened", ~intervened)):
            if moved[where].sum() > 0:
                metrics[f"cloning/distance_{name}"] = float(apart[where].mean() / moved[where].mean())
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)

    def _begin(self, method: Method) -> tuple[Policy, Optimizer]:
        """Copy the method's policy, and make a fresh optimiser of the copy."""
        self.cloned = deepcopy(method.policy)
        self.optimizer = method.optimizer(self.cloned.parameters())
        return self.cloned, self.optimizer


@torch.no_grad()
def action_distance(first: Policy, second: Policy, steps: TensorDictBase) -> Float[Tensor, "*batch"]:
    """Return the Euclidean distance between what two policies do in steps `[*batch]`.

    Args:
        first: Policy.
        second: Policy of the same kind.
        steps: Steps with the entries that both act on.

    Returns:
        The distance between their most probable actions, or between their vectors of probabilities where actions are
        discrete.
    """
    return (_what_it_does(first, steps) - _what_it_does(second, steps)).norm(dim=-1)


def _what_it_does(policy: Policy, steps: TensorDictBase) -> Tensor:
    """Return probabilities `[*batch, actions]`, or the most probable action `[*batch, action_dim]`."""
    distribution = first_action(policy.at(steps))
    return distribution.probs if isinstance(distribution, Categorical) else mode(distribution)
