"""Advantage conditioning: learn all actions, told which were better than what was to be expected, and act by these."""

from typing import NamedTuple

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn.functional import mse_loss

from mile.methods.method import ADAM, MakeOptimizer, Method
from mile.policies import ConditionedPolicy, Perceptron
from mile.timing.attempts import attempt_rows
from mile.transitions import action_taken


class AdvantageLoss(NamedTuple):
    """The terms of a loss, each a scalar.

    Attributes:
        loss: Sum that is minimised.
        policy_loss: Mean NLL of the actions that were taken, nats.
        value_loss: Mean squared error of the values.
    """

    loss: Tensor
    policy_loss: Tensor
    value_loss: Tensor


class ValueNetwork(Perceptron):
    """Predicts the number of steps to success, as a negative share of `failure_steps`, `[*batch]`.

    Args:
        policy: Policy whose hidden layers and normalisation of observations are copied; its weights are not.
    """

    def __init__(self, policy: ConditionedPolicy) -> None:
        super().__init__(policy)
        own = policy.network.normalizer
        self.normalizer.load_state_dict({"mean": own.mean[:-1], "std": own.std[:-1], "fitted": own.fitted})

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the values, `[*batch]`, for the observed entries, as `in_keys` has them."""
        return super().forward(*inputs).squeeze(-1)


class AdvantageConditioned(Method):
    """Clones all actions that were taken, each told whether its advantage is above a threshold; acts as if it were.

    A state's value is minus the number of steps to success, in units of `failure_steps`, and −1 in an attempt that
    fails. The advantage of an action is the n-step return less the value. What a human did counts as good. In some rows
    the policy is told nothing.

    Args:
        policy: Policy to learn, made from the initial one by `ConditionedPolicy.of`.
        failure_steps: Number of steps that a failure is worth.
        horizon: Number n of steps of the return.
        threshold: Least advantage ε of a good action, in units of `failure_steps`.
        dropout: Share of the rows in which the policy is told nothing.
        optimizer: Function that makes the optimiser from the parameters of both networks.

    Raises:
        ValueError: A number is out of its range, or the policy is no `ConditionedPolicy`.

    Source: the idea of "π*0.6: a VLA that learns from experience" (RECAP), 2025.
    """

    reads = (*Method.reads, ("next", "success"))
    needs_attempts = True
    policy: ConditionedPolicy

    def __init__(
        self,
        policy: ConditionedPolicy,
        failure_steps: int = 500,
        horizon: int = 50,
        threshold: float = 0.0,
        dropout: float = 0.3,
        optimizer: MakeOptimizer = ADAM,
    ) -> None:
        if not isinstance(policy, ConditionedPolicy):
            raise ValueError(
                f"AdvantageConditioned needs a ConditionedPolicy, got a {type(policy).__name__}; "
                "ConditionedPolicy.of(policy) makes one"
            )
        super().__init__(policy, optimizer)
        for name, value in (("failure_steps", failure_steps), ("horizon", horizon)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {dropout}")
        self.save_hyperparameters("failure_steps", "horizon", "threshold", "dropout")
        self.failure_steps = failure_steps
        self.horizon = horizon
        self.threshold = threshold
        self.dropout = dropout
        self.value = ValueNetwork(policy)

    @torch.no_grad()
    def context(self, steps: TensorDictBase) -> TensorDict:
        """Return value and quality, 1 or −1, of each of the steps `[steps]` of whole attempts."""
        rows, valid = attempt_rows(steps)
        success = steps["next", "success"][rows] & valid
        returns = steps_to_success(success, valid, self.failure_steps)
        values = self.value.at(self.observed(steps)).cpu()[rows]
        advantage = n_step_advantage(values, returns, valid, self.horizon, 1 / self.failure_steps)
        good = (advantage[valid] > self.threshold) | steps["intervened"].cpu()
        return TensorDict({"value": returns[valid], "quality": torch.where(good, 1.0, -1.0)}, [len(steps)])

    def loss(self, batch: TensorDictBase) -> AdvantageLoss:
        """Return the terms of the loss for recorded steps `[batch_size]`."""
        quality = batch["context", "quality"]
        label = torch.where(torch.rand_like(quality) < self.dropout, 0.0, quality)
        policy_loss = -self.policy.told(*self.policy.inputs(batch), quality=label).log_prob(action_taken(batch)).mean()
        value_loss = mse_loss(self.value.at(batch), batch["context", "value"])
        return AdvantageLoss(policy_loss + value_loss, policy_loss, value_loss)


def steps_to_success(success: Tensor, valid: Tensor, failure_steps: int) -> Tensor:
    """Return minus the number of steps to success, in units of `failure_steps`, at least −1, `[attempts, T]`.

    Args:
        success: Whether a step solved the task, `[attempts, T]`.
        valid: False in padded steps, `[attempts, T]`.
        failure_steps: Number of steps that a failure is worth.
    """
    index = torch.arange(success.shape[-1])
    beyond = success.shape[-1] + failure_steps
    following = torch.where(success, index, beyond).flip(-1).cummin(-1).values.flip(-1)
    left = (following - index + 1).clamp_max(failure_steps)
    return torch.where(valid, -left / failure_steps, 0.0)


def n_step_advantage(values: Tensor, returns: Tensor, valid: Tensor, horizon: int, step_cost: float) -> Tensor:
    """Return the n-step return less the value, `[attempts, T]`; where an attempt ends before, the return to its end.

    Args:
        values: Present estimates, `[attempts, T]`.
        returns: Returns to the end of the attempt, `[attempts, T]`.
        valid: False in padded steps, `[attempts, T]`.
        horizon: Number n of steps.
        step_cost: Cost of a step.
    """
    later = values.roll(-horizon, -1)
    goes_on = valid.roll(-horizon, -1).clone()
    goes_on[..., max(0, valid.shape[-1] - horizon) :] = False
    bootstrapped = later - horizon * step_cost
    return torch.where(goes_on, bootstrapped, returns) - values
