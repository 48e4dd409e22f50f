"""Measures what each round's training does to the networks."""

from copy import deepcopy
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from tensordict import TensorDictBase
from torch import Tensor
from torch.nn.utils import get_total_norm

from mile.callbacks.rounds import RoundCallback, rounds_of
from mile.expectations import divergence
from mile.methods import Method
from mile.policies import GaussianPolicy, Policy
from mile.policies.chunk import first_action

MAX_STEPS = 4096  # recorded steps on which a round is measured, evenly spread
MIN_SLOPE = 0.01  # of the sigmoid that bounds the log-std, over its largest; below, there is as good as no gradient


class LearningCallback(RoundCallback):
    """Logs the gradients of the terms of the loss, and how far a round's learning moved the policy.

    * `gradient/<term>/<network>`: L2 norm of that term's own gradient at the end of a round, where a loss has terms;
    * `gradient/cosine`: cosine between the gradients of `intervention_loss` and `policy_loss` in the policy; below 0
      they pull in opposite directions;
    * `gradient/ratio`: norm of the first over that of the second, both without their weights;
    * `policy/log_std_saturated`: share of recorded steps and dimensions in which a bounded log-std has as good as no
      gradient (`saturated_share`);
    * `drift/not_intervened`, `drift/intervened`: mean KL(π before the round's learning ‖ π after it) over recorded
      steps with ν=0 and ν=1, nats. With restarts learning begins from the initial policy, not from the deployed one.

    The module must be a `Method`. Put this callback after the `DeploymentCallback`, which restarts.
    """

    def __init__(self) -> None:
        self.before: Policy | None = None
        self.restored: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the weights from before the round's learning, for a run that is stopped within the round."""
        return {} if self.before is None else dict(self.before.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the weights until there is a policy to put them into."""
        self.restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put restored weights into a policy."""
        if self.restored:
            self.before = deepcopy(cast(Policy, pl_module.policy))
            self.before.load_state_dict(self.restored)

    def on_round_start(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Copy the deployed policy, for a round that may hold nothing to learn from."""
        self.before = deepcopy(cast(Policy, pl_module.policy))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Copy the policy that a round's learning begins with, after a restart."""
        if not batch_idx and rounds_of(trainer).begins_with(trainer.current_epoch):
            self.before = deepcopy(cast(Policy, pl_module.policy))

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Log gradients and drift on recorded steps."""
        steps = steps_of_rounds(trainer, number)
        if not len(steps):  # demonstrations alone
            return
        steps = steps.to(pl_module.device)

        # gradients
        metrics = {}
        gradients = term_gradients(cast(Method, pl_module), steps)
        for (term, network), parts in gradients.items():
            metrics[f"gradient/{term}/{network}"] = float(get_total_norm(parts))
        if {("intervention_loss", "policy"), ("policy_loss", "policy")} <= gradients.keys():
            intervention = flatten(gradients["intervention_loss", "policy"])
            cloning = flatten(gradients["policy_loss", "policy"])
            metrics["gradient/cosine"] = float(torch.cosine_similarity(intervention, cloning, dim=0))
            if cloning.any():
                metrics["gradient/ratio"] = float(intervention.norm() / cloning.norm())

        # drift
        before, after = cast(Policy, self.before), cast(Policy, pl_module.policy)
        if after.has_density:
            metrics |= drift(before, after, steps)

        # where the standard deviation cannot learn
        if isinstance(after, GaussianPolicy):
            metrics["policy/log_std_saturated"] = saturated_share(after, steps)
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)


def steps_of_rounds(trainer: Trainer, last: int) -> TensorDictBase:
    """Return recorded steps of the rounds up to a last one, at most `MAX_STEPS`, evenly spread; no demonstrations."""
    rows = trainer.datamodule.buffer.rows(range(last + 1))
    return trainer.datamodule.served(rows, len(rows) // MAX_STEPS + 1)


@torch.no_grad()
def drift(before: Policy, after: Policy, steps: TensorDictBase) -> dict[str, float]:
    """Return the mean divergence between two policies' next actions, nats, where the human acted and elsewhere.

    Args:
        before: Policy before the round.
        after: Policy after it.
        steps: Recorded steps, `[steps]`.
    """
    moved = divergence(first_action(before.at(steps)), first_action(after.at(steps)))
    metrics = {}
    for name, where in (("intervened", steps["intervened"]), ("not_intervened", ~steps["intervened"])):
        if where.any():
            metrics[f"drift/{name}"] = float(moved[where].mean())
    return metrics


@torch.no_grad()
def saturated_share(policy: GaussianPolicy, steps: TensorDictBase) -> float:
    """Return the share of the log-std's entries whose sigmoid is flatter than `MIN_SLOPE` of its steepest.

    Args:
        policy: Policy with a bounded log-std.
        steps: Steps that it is looked at in, `[*batch]`.
    """
    _, std = policy.mean_and_std(*policy.inputs(steps))
    bounded = (std.log() - policy.low) / (policy.high - policy.low)  # sigmoid, [*batch, action_dim]
    slope = bounded * (1 - bounded)  # its derivative, at most ¼
    return float((slope < MIN_SLOPE / 4).float().mean())


def flatten(parts: tuple[Tensor, ...]) -> Tensor:
    """Return the entries of a gradient in one vector."""
    return torch.cat([part.flatten() for part in parts])


def term_gradients(method: Method, steps: TensorDictBase) -> dict[tuple[str, str], tuple[Tensor, ...]]:
    """Return the gradient of each term of the loss in each network's weights, by term and network."""
    if not method.automatic_optimization:
        return {}  # there is no loss on recorded steps
    terms = method.loss(steps)._asdict()
    del terms["loss"]
    gradients = {}
    for term, value in terms.items():
        if not value.requires_grad:  # such as an actor's, where actions are discrete
            continue
        for name, network in method.networks().items():
            weights = [weight for weight in network.parameters() if weight.requires_grad]
            gradients[term, name] = torch.autograd.grad(
                value, weights, retain_graph=True, allow_unused=True, materialize_grads=True
            )
    return gradients
