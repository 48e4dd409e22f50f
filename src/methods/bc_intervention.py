"""BC intervention: a network alone predicts when the human intervenes, without a model of why."""

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mile.losses import InterventionLoss, action_nll, extended_cross_entropy, weighted_sum
from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.policies import Perceptron, Policy
from mile.transitions import DEMONSTRATION, decided


class SharedTrunkHead(nn.Module):
    """Predicts ν from the last hidden layer of the policy, which learns from ν, too.

    Args:
        policy: Policy whose hidden layers are shared.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.output = nn.Linear(policy.architecture["hidden_dims"][-1], 1)

    def forward(self, policy: Policy, steps: TensorDictBase) -> Tensor:
        """Return the logit of p(ν=1|s), `[*batch, 1]`."""
        return self.output(policy.features(steps))


class BCIntervention(Method):
    """Trains a head to predict ν, and clones the human's actions; the two losses are weighted as MILE's terms are.

    The policy clones the human's action in a step with ν=1, and the head learns to predict 1. In a step with ν=0 the
    head learns to predict 0, and the policy learns nothing. The policy clones demonstrations as well; the head ignores
    them, because nobody decided whether to intervene in them.

    With a network of its own for the head, ν changes nothing in the policy: its loss is HG-DAgger's. The paper's words
    can be read as one network, too. With `shared_trunk`, the head is one more output of the policy's network. Discrete
    actions and "no intervention" are the classes of one softmax then, whose cross-entropy is minimised (as in Eq. 3).

    Args:
        policy: Policy π_θ, at first the initial policy.
        intervention_weight: Weight λ of the head's BCE, in [0, 1]; of no account for the classes of one softmax.
        shared_trunk: Predict ν from the policy's last hidden layer.
        optimizer: Function that makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: The weight λ lies outside [0, 1].

    Source: Sec. V, "Baselines".
    """

    def __init__(
        self,
        policy: Policy,
        intervention_weight: float = 0.5,
        shared_trunk: bool = False,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        super().__init__(policy, optimizer)
        if not 0 <= intervention_weight <= 1:
            raise ValueError(f"intervention_weight (λ) must lie in [0, 1], got {intervention_weight}")
        self.save_hyperparameters("intervention_weight", "shared_trunk")
        self.head = SharedTrunkHead(policy) if shared_trunk else Perceptron(policy)
        self.intervention_weight = intervention_weight
        self.shared_trunk = shared_trunk

    def loss(self, batch: TensorDictBase) -> InterventionLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        intervened = batch["intervened"]
        deployed = (batch["round"] != DEMONSTRATION) & decided(batch)

        # when: BCE of ν, the mean over deployed steps in which the human decided
        bce = binary_cross_entropy_with_logits(self.logit(batch), intervened.float(), reduction="none")
        count = self.count(deployed)
        intervention_loss = torch.where(deployed, bce, 0.0).sum() / torch.where(count > 0, count, 1)

        # how: NLL of the human's actions
        num_interventions = self.count(intervened)
        policy_loss = action_nll(self.policy.at(batch), batch["human_action"], intervened, num_interventions)

        if self.shared_trunk and self.policy.is_discrete:
            steps = intervened.numel()  # both terms are sums over steps, divided by the number of all
            return extended_cross_entropy(intervention_loss * count / steps, policy_loss, num_interventions / steps)
        return weighted_sum(intervention_loss, policy_loss, self.intervention_weight)

    def logit(self, steps: TensorDictBase) -> Tensor:
        """Return the logit of p(ν=1|s), `[*batch]`."""
        logit = self.head(self.policy, steps) if isinstance(self.head, SharedTrunkHead) else self.head.at(steps)
        logit = logit.squeeze(-1)
        # bfloat16 is for the network alone
        return logit.to(torch.promote_types(logit.dtype, torch.float32))

    @torch.no_grad()
    def intervention_prob(self, steps: TensorDictBase) -> Tensor:
        """Return the predicted p(ν=1|s), `[*batch]`."""
        return self.logit(steps).sigmoid()

    def predict(self, steps: TensorDictBase) -> Tensor:
        """Return p(ν=1|s), `[steps]` float64, whatever ν was before."""
        return self.intervention_prob(self.observed(steps)).cpu().double()
