"""Policies that correct a frozen one, where they expect a human to."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from mile.policies.gaussian import GaussianPolicy
from mile.policies.mixture import gaussian_mixture
from mile.policies.networks import mlp
from mile.policies.policy import Policy, build
from mile.policies.sampling import mode

LOG_STD_BOUNDS = (-3.0, 1.0)  # of a residual's components
NEVER = -4.0  # logit of the head before anything is learnt: the frozen policy acts


class ResidualPolicy(Policy):
    """A frozen policy, and a residual that is added to its action where a head expects an intervention.

    Before anything is learnt it acts as the frozen policy does.

    Continuous actions: the residual is a mixture of Gaussians, of which the most probable component acts. Discrete ones
    (ours): logits, which are added to the frozen ones. The residual sees the observation and what the frozen policy
    does, the head the observation.

    Args:
        observation_dim: Length of an observation vector.
        action_dim: Number of discrete actions, or length of a continuous action vector.
        hidden_dims: Widths of the hidden layers of residual and head.
        base: Kind and architecture of the frozen policy; see `Policy.describe`.
        components: Number of components of the mixture; used with continuous actions.
        pictures: Observed pictures; see `Policy`.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int],
        base: Mapping[str, Any],
        components: int = 5,
        pictures: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        frozen = build(base)
        is_discrete = frozen.is_discrete
        super().__init__(
            observation_dim,
            action_dim,
            hidden_dims,
            output_dim=action_dim if is_discrete else components * (1 + 2 * action_dim),
            more_dim=action_dim,
            pictures=pictures,
            base=dict(base),
            components=components,
        )
        self.base = frozen.requires_grad_(False)
        self.in_keys = frozen.in_keys
        self.head = mlp(self.embedding_dim, hidden_dims, 1)
        nn.init.zeros_(self.head[-1].weight)  # pyright: ignore
        nn.init.constant_(self.head[-1].bias, NEVER)  # pyright: ignore
        self.is_discrete = is_discrete
        self.components = components

    @classmethod
    def of(cls, base: Policy, components: int = 5) -> "ResidualPolicy":
        """Return a policy that corrects another one, and has learnt nothing yet.

        Raises:
            ValueError: The other one's actions are neither discrete nor diagonal Gaussian.
        """
        is_gaussian = isinstance(base, GaussianPolicy) and not base.architecture.get("squash")
        if not (base.is_discrete or is_gaussian):
            raise ValueError(
                "a residual corrects discrete or diagonal Gaussian actions; choose policy.head=gaussian, and no squash"
            )
        shape = base.architecture
        sizes = shape["observation_dim"], shape["action_dim"], shape["hidden_dims"]
        policy = cls(*sizes, base=base.describe(), components=components, pictures=shape.get("pictures"))
        policy.base.load_state_dict(base.state_dict())
        policy.normalizer.load_state_dict(base.normalizer.state_dict())
        policy.encoders.load_state_dict(base.encoders.state_dict())
        return policy

    def intervention_logit(self, *inputs: Tensor) -> Tensor:
        """Return the head's logit of p(ν=1|s), `[*batch]`, for the observed entries, as `in_keys` has them."""
        return self.head(self.embed(*inputs)).squeeze(-1)

    def base_action(self, *inputs: Tensor) -> Tensor:
        """Return what the frozen policy does, `[*batch, action_dim]`: its action, or its logits."""
        frozen: Any = self.base(*inputs)
        return frozen.logits if self.is_discrete else mode(frozen)

    def residual(self, *inputs: Tensor) -> Distribution:
        """Return the distribution of a human's action less the frozen one; or of a human's discrete action."""
        base = self.base_action(*inputs)
        output = self.network(torch.cat([self.embed(*inputs), base], -1))
        if self.is_discrete:
            return Categorical(logits=base + output, validate_args=False)
        return gaussian_mixture(output, self.components, LOG_STD_BOUNDS)

    def forward(self, *inputs: Tensor) -> Distribution:
        """Return the distribution over actions: the frozen policy's, corrected where the head says ν=1."""
        corrects = (self.intervention_logit(*inputs) > 0).unsqueeze(-1)
        frozen: Any = self.base(*inputs)
        residual: Any = self.residual(*inputs)
        if self.is_discrete:
            return Categorical(logits=torch.where(corrects, residual.logits, frozen.logits), validate_args=False)

        # the most probable component, around the frozen action
        chosen = residual.mixture_distribution.logits.argmax(-1)[..., None, None]
        parts = residual.component_distribution.base_dist
        mean, std = (part.take_along_dim(chosen, -2).squeeze(-2) for part in (parts.mean, parts.stddev))
        mean = self.base_action(*inputs) + torch.where(corrects, mean, 0.0)
        std = torch.where(corrects, std, frozen.base_dist.stddev)
        return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
