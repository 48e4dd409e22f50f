"""Critics that methods without a reward learn: Q(s, a) of either kind of action, with slowly moving copies."""

from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mile.policies import CategoricalPolicy, GaussianPolicy, Policy
from mile.policies.sampling import mode
from mile.rl.rlpd import QNetwork


class _Values(nn.Module):
    """Q(s, a) of all networks of a critic, `[critics, *batch]`."""

    def __init__(self, policy: Policy, count: int) -> None:
        super().__init__()
        networks = [policy] if isinstance(policy, CategoricalPolicy) else [QNetwork(policy) for _ in range(count)]  # pyright: ignore
        self.networks = nn.ModuleList(networks)

    def forward(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        values = []
        for network in self.networks:
            if isinstance(network, CategoricalPolicy):
                of_all = network.values(*network.inputs(steps))
                values.append(of_all.gather(-1, action.unsqueeze(-1)).squeeze(-1))
            else:
                values.append(network.of(steps, action))  # pyright: ignore
        return torch.stack(values)


class Critic(nn.Module):
    """Q(s, a) of one or several networks, and of their moving averages.

    Discrete actions: the policy's own network is the only one, so that the policy acts at the largest Q. Continuous
    ones: each network is one of its own, and the policy has to follow.

    Args:
        policy: Policy π_θ; if actions are continuous, one with `squash=True`.
        count: Number of networks for continuous actions.
        discount: Discount factor γ, in [0, 1).
        target_rate: Rate τ of the moving averages, in (0, 1].

    Raises:
        ValueError: A number is out of its range, or continuous actions are not bounded.
    """

    def __init__(self, policy: Policy, count: int = 2, discount: float = 0.99, target_rate: float = 5e-3) -> None:
        super().__init__()
        if not 0 <= discount < 1:
            raise ValueError(f"discount (γ) must lie in [0, 1), got {discount}")
        if not 0 < target_rate <= 1:
            raise ValueError(f"target_rate (τ) must lie in (0, 1], got {target_rate}")
        if isinstance(policy, GaussianPolicy) and not policy.squash:
            raise ValueError("a critic needs a GaussianPolicy with squash=True: beyond ±1 values would have no slope")
        self.discount = discount
        self.is_discrete = isinstance(policy, CategoricalPolicy)
        self.networks = nn.ModuleDict({"policy": policy, "critics": _Values(policy, count)})
        self.average = AveragedModel(self.networks, multi_avg_fn=get_ema_multi_avg_fn(1 - target_rate))
        self.average.requires_grad_(False)

    def forward(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        """Return Q(s, a) of each network, `[critics, *batch]`, for actions in steps `[*batch]`."""
        return self.networks["critics"](steps, action)

    def fixed(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        """Return the same without a gradient to the networks, for a policy that follows, `[critics, *batch]`."""
        values = self.networks["critics"]
        weights = {name: parameter.detach() for name, parameter in values.named_parameters()}
        return functional_call(values, weights, (steps, action))

    @torch.no_grad()
    def target(self, batch: TensorDictBase, action: Tensor | None = None, bonus: Tensor | float = 0.0) -> Tensor:
        """Return γ (1 − terminated) (min Q̄(s', a') + bonus), `[*batch]`: the value of what follows where rewards are 0.

        Args:
            batch: Transitions `[*batch]`.
            action: Next action a'; None: the averaged policy's most probable one, or for discrete actions the present
                one's, as in double Q-learning.
            bonus: Value of the next action beside Q.
        """
        following: Any = batch["next"]
        average: Any = self.average.module
        if action is None:
            policies: Any = self.networks if self.is_discrete else average
            action = mode(policies["policy"].at(following))
        value = average["critics"](following, action).amin(0) + bonus
        return self.discount * torch.where(following["terminated"], 0.0, value)

    def update_average(self) -> None:
        """Move the averages; called after each step of the optimiser."""
        self.average.update_parameters(self.networks)
