"""MILE: learn the policy and the human's mental model of it jointly (Sec. IV)."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from lightning import LightningModule
from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import Categorical
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer

from mile.intervention import check_cost_and_scale, gap_parts, intervention_log_probs
from mile.losses import InterventionLoss, continuous_intervention_loss, discrete_intervention_loss
from mile.policies import Policy


class MILE(LightningModule):
    """Explains when and how a human intervened by the policy π_θ, in the human's place, and a mental model π̂_ξ.

    The loss is the extended cross-entropy (Eq. 3) where the policy is categorical and the λ-weighted sum of BCE and
    NLL (Eq. 5) otherwise. Only the policy is deployed.

    Args:
        policy: π_θ, starts as the initial policy.
        mental_model: π̂_ξ.
        cost: c, nats.
        scale: σ of Φ, nats.
        intervention_weight: λ in [0, 1]; used with continuous actions.
        optimizer: makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: cost or scale is not finite, scale is not above 0, or λ lies outside [0, 1].
    """

    def __init__(
        self,
        policy: Policy,
        mental_model: Policy,
        cost: float,
        scale: float,
        intervention_weight: float = 0.5,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = partial(Adam, lr=1e-4),
    ) -> None:
        super().__init__()
        check_cost_and_scale(cost, scale)
        if not 0 <= intervention_weight <= 1:
            raise ValueError(f"intervention_weight (λ) must lie in [0, 1], got {intervention_weight}")
        self.save_hyperparameters("cost", "scale", "intervention_weight")
        self.policy = policy
        self.mental_model = mental_model
        self.cost = cost
        self.scale = scale
        self.intervention_weight = intervention_weight
        self.optimizer = optimizer

    def loss(self, batch: TensorDictBase) -> InterventionLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        policy, mental_model = self.policy(batch["observation"]), self.mental_model(batch["observation"])
        human_action, intervened = batch["human_action"], batch["intervened"]
        if isinstance(policy, Categorical):
            return discrete_intervention_loss(policy, mental_model, human_action, intervened, self.cost, self.scale)
        return continuous_intervention_loss(
            policy, mental_model, human_action, intervened, self.cost, self.scale, self.intervention_weight
        )

    @torch.no_grad()
    def intervention_prob(self, observation: Tensor) -> Tensor:
        """Return the predicted p(ν=1|s) for observations `[*batch, observation_dim]`."""
        policy, mental_model = self.policy(observation), self.mental_model(observation)
        return intervention_log_probs(policy, mental_model, self.cost, self.scale)[1].exp()

    @torch.no_grad()
    def gap_parts(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of the expected gap, nats, for observations `[*batch, observation_dim]`."""
        return gap_parts(self.policy(observation), self.mental_model(observation))

    def training_step(self, batch: TensorDictBase, batch_idx: int) -> Tensor:
        """Compute and log every term of the loss."""
        terms = self.loss(batch)
        logged = {f"train/{name}": value.detach() for name, value in terms._asdict().items()}
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=len(batch), sync_dist=True)
        return terms.loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the norm of the gradient of each network."""
        for name in ("policy", "mental_model"):
            gradients = [p.grad for p in getattr(self, name).parameters() if p.grad is not None]
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
        """Optimise both networks together (Algorithm 1)."""
        return self.optimizer(self.parameters())
