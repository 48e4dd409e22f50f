"""BC intervention: a network alone predicts when the human intervenes, without a model of why."""

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mile.losses import InterventionLoss, action_nll
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.policies import Policy
from mile.policies.networks import ObservationNormalizer, mlp
from mile.transitions import DEMONSTRATION


class InterventionHead(nn.Module):
    """Predicts ν from an observation, by a network of the policy's shape.

    Args:
        policy: Policy whose hidden layers and normalisation of observations are copied; its weights are not.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        shape = policy.architecture
        self.normalizer = ObservationNormalizer(shape["observation_dim"])
        self.normalizer.load_state_dict(policy.normalizer.state_dict())
        self.network = mlp(shape["observation_dim"], shape["hidden_dims"], 1)

    def forward(self, observation: Tensor) -> Tensor:
        """Return the logit of p(ν=1|s), `[*batch]`, for observations `[*batch, observation_dim]`."""
        logit = self.network(self.normalizer(observation)).squeeze(-1)
        # bfloat16 is for the network alone
        return logit.to(torch.promote_types(logit.dtype, torch.float32))


class BCIntervention(Method):
    """Trains a head to predict ν, and clones the human's actions; the two losses are weighted as MILE's terms are.

    The policy clones the human's action in a step with ν=1, and the head learns to predict 1. In a step with ν=0 the
    head learns to predict 0, and the policy learns nothing. The policy clones demonstrations as well; the head ignores
    them, because nobody decided whether to intervene in them.

    Args:
        policy: Policy π_θ, at first the initial policy.
        intervention_weight: Weight λ of the head's BCE, in [0, 1].
        optimizer: Function that makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: The weight λ lies outside [0, 1].

    Source: Sec. V, "Baselines".
    """

    def __init__(self, policy: Policy, intervention_weight: float = 0.5, optimizer: MakeOptimizer = ADAM) -> None:
        super().__init__(policy, optimizer)
        if not 0 <= intervention_weight <= 1:
            raise ValueError(f"intervention_weight (λ) must lie in [0, 1], got {intervention_weight}")
        self.save_hyperparameters("intervention_weight")
        self.head = InterventionHead(policy)
        self.intervention_weight = intervention_weight

    def loss(self, batch: TensorDictBase) -> InterventionLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        observation, intervened = batch["observation"], batch["intervened"]
        deployed = batch["round"] != DEMONSTRATION

        # when: BCE of ν, the mean over deployed steps
        bce = binary_cross_entropy_with_logits(self.head(observation), intervened.float(), reduction="none")
        count = self.count(deployed)
        intervention_loss = torch.where(deployed, bce, 0.0).sum() / torch.where(count > 0, count, 1)

        # how: NLL of the human's actions
        policy_loss = action_nll(
            self.policy(observation), batch["human_action"], intervened, num_interventions=self.count(intervened)
        )

        weight = self.intervention_weight
        loss = weight * intervention_loss + (1 - weight) * policy_loss
        return InterventionLoss(loss, intervention_loss, policy_loss)

    @torch.no_grad()
    def intervention_prob(self, observation: Tensor) -> Tensor:
        """Return the predicted p(ν=1|s) for observations `[*batch, observation_dim]`."""
        return self.head(observation).sigmoid()

    def predict(self, steps: TensorDictBase) -> Tensor:
        """Return p(ν=1|s), `[steps]` float64, whatever ν was before."""
        return self.intervention_prob(steps["observation"].to(self.device)).cpu().double()
