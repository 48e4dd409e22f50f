"""MILE: learn the policy and the human's mental model of it jointly (Sec. IV)."""

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torch.distributions import Categorical

from mile.intervention import check_cost_and_scale, gap_parts, intervention_log_probs
from mile.losses import (
    InterventionLoss,
    LossWithSilence,
    continuous_intervention_loss,
    discrete_intervention_loss,
    with_silence,
)
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.policies import Policy
from mile.transitions import DEMONSTRATION


class MILE(Method):
    """Explains when and how a human intervened by the policy π_θ, in the human's place, and a mental model π̂_ξ.

    A step with ν=1 trains both networks to predict the intervention, and the policy to act as the human did. A step
    with ν=0 trains both networks to predict that the human does not intervene. Demonstrations are refused, because
    nobody decided whether to intervene in them.

    The loss is the extended cross-entropy (Eq. 3) where the policy is categorical and the λ-weighted sum of BCE and
    NLL (Eq. 5) otherwise.

    Args:
        policy: Policy π_θ, at first the initial policy.
        mental_model: Mental model π̂_ξ: the distribution of the action that the human expects of the robot.
        cost: Effort of intervening, c, nats.
        scale: Standard deviation σ of Φ, nats.
        intervention_weight: Weight λ of the BCE, in [0, 1]; used with continuous actions.
        silence_weight: Weight of the term that clones the robot's action where ν=0 (`mile.losses.with_silence`); the
            paper has none.
        frozen_mental_model: Train only the policy; in the paper both networks learn.
        optimizer: Function that makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: Cost or scale is not finite, scale is not above 0, λ lies outside [0, 1], or the silence weight is
            below 0.

    Source: Sec. IV, App. A (Algorithm 1, LEARNING).
    """

    def __init__(
        self,
        policy: Policy,
        mental_model: Policy,
        cost: float,
        scale: float,
        intervention_weight: float = 0.5,
        silence_weight: float = 0.0,
        frozen_mental_model: bool = False,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        check_cost_and_scale(cost, scale)
        if not 0 <= intervention_weight <= 1:
            raise ValueError(f"intervention_weight (λ) must lie in [0, 1], got {intervention_weight}")
        if not silence_weight >= 0:
            raise ValueError(f"silence_weight must be at least 0, got {silence_weight}")

        self.save_hyperparameters("cost", "scale", "intervention_weight", "silence_weight", "frozen_mental_model")
        self.mental_model = mental_model.requires_grad_(not frozen_mental_model)
        self.cost = cost
        self.scale = scale
        self.intervention_weight = intervention_weight
        self.silence_weight = silence_weight

    def loss(self, batch: TensorDictBase) -> InterventionLoss | LossWithSilence:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        policy, mental_model = self.policy(batch["observation"]), self.mental_model(batch["observation"])
        human_action, intervened = batch["human_action"], batch["intervened"]
        cost, scale, count = self.cost, self.scale, self.count(intervened)

        # Eq. 3 for discrete actions, Eq. 5 for continuous ones
        if isinstance(policy, Categorical):
            terms = discrete_intervention_loss(
                policy, mental_model, human_action, intervened, cost=cost, scale=scale, num_interventions=count
            )
        else:
            terms = continuous_intervention_loss(
                policy,
                mental_model,
                human_action,
                intervened,
                cost=cost,
                scale=scale,
                intervention_weight=self.intervention_weight,
                num_interventions=count,
            )

        if not self.silence_weight:
            return terms
        return with_silence(terms, policy, batch["robot_action"], intervened, cost=cost, weight=self.silence_weight)

    def sampling_weights(self, steps: TensorDictBase) -> None:
        """Return None: all steps are drawn equally often.

        Raises:
            ValueError: There are demonstrations among the steps, in which nobody decided whether to intervene.
        """
        count = int((steps["round"] == DEMONSTRATION).sum())
        if count:
            raise ValueError(f"MILE learns from deployments alone, got {count} steps of demonstrations; leave them out")

    @torch.no_grad()
    def intervention_prob(self, observation: Tensor) -> Tensor:
        """Return the predicted p(ν=1|s) for observations `[*batch, observation_dim]`."""
        policy, mental_model = self.policy(observation), self.mental_model(observation)
        _, log_intervene = intervention_log_probs(policy, mental_model, self.cost, self.scale)
        return log_intervene.exp()

    @torch.no_grad()
    def gap_parts(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two parts of the expected gap, nats, for observations `[*batch, observation_dim]`."""
        return gap_parts(self.policy(observation), self.mental_model(observation))
