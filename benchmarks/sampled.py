"""The intervention model by sampling, as it is usually written; the exact model is compared with this one."""

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

SAMPLES = 1000
TINY = 1e-6  # keeps the logarithms finite


def sampled_intervention_prob(human: Independent, mental_model: Independent, cost: float, scale: float) -> Tensor:
    """Return p(ν=1|s) `[*batch]` (Eq. 1-2): both expectations by 1000 reparameterised draws."""
    own, expected = human.rsample((SAMPLES,)), mental_model.rsample((SAMPLES,))
    gap = human.log_prob(own) - human.log_prob(expected).mean(0)
    return Normal(0.0, 1.0).cdf((gap - cost) / scale).mean(0)


def sampled_loss(human: Independent, mental_model: Independent, batch: dict, cost: float, scale: float) -> Tensor:
    """Return the λ-weighted BCE and NLL of Eq. 5 with λ = 0.5."""
    prob = sampled_intervention_prob(human, mental_model, cost, scale).clamp(TINY, 1 - TINY)
    intervened = batch["intervened"]
    bce = torch.nn.functional.binary_cross_entropy(prob, intervened.to(prob.dtype))
    return 0.5 * bce - 0.5 * human.log_prob(batch["human_action"])[intervened].mean()
