"""Values of actions, learnt from what is recorded, by which gates judge what the robot proposes."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mile.policies import Policy
from mile.rl.rlpd import QNetwork

BATCH_SIZE = 256
LEARNING_RATE = 1e-3
TARGET_RATE = 5e-3  # of the moving average


class ActionValue(nn.Module):
    """Q(s, a) for actions of either kind, by a network of a policy's shape.

    Args:
        policy: Policy whose hidden layers and normalisation of observations are copied.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.network = QNetwork(deepcopy(policy))  # pyright: ignore
        self.actions = policy.architecture["action_dim"] if policy.is_discrete else None

    def forward(self, steps: TensorDictBase, action: Tensor) -> Tensor:
        """Return Q, `[*batch]`, of actions in steps `[*batch]`."""
        if self.actions is not None:
            action = one_hot(action, self.actions)
        return self.network.of(steps, action.to(self.network.normalizer.mean.dtype))


Error = Callable[[ActionValue, TensorDictBase, Tensor], Tensor]


def learn_values(policy: Policy, steps: TensorDictBase, error: Error, updates: int) -> ActionValue:
    """Learn Q(s, a) from recorded steps, for a policy that acts from the next step on.

    Args:
        policy: Policy π, which takes its most probable actions.
        steps: Recorded steps, `[steps]`.
        error: Function of a value, a batch `[batch]`, and the value Q̄(s', π(s')) of what follows it, 0 at an end, that
            returns what is minimised, `[batch]`.
        updates: Number of gradient steps.
    """
    policy = deepcopy(policy).cpu()
    with torch.random.fork_rng(devices=[]):  # the run's own random numbers stay as they are
        torch.manual_seed(0)
        value = ActionValue(policy)
    average = AveragedModel(value, multi_avg_fn=get_ema_multi_avg_fn(1 - TARGET_RATE))
    optimizer = torch.optim.Adam(value.parameters(), lr=LEARNING_RATE)

    # what the policy does next
    after: Any = steps["next"]
    with torch.no_grad():
        next_action = policy.act(*policy.inputs(after))
    goes_on = ~(after["terminated"] | after["success"])

    generator = torch.Generator().manual_seed(0)
    for _ in range(updates):
        rows = torch.randint(len(steps), (BATCH_SIZE,), generator=generator)
        with torch.no_grad():
            following = average(after[rows], next_action[rows]) * goes_on[rows]
        loss = error(value, steps[rows], following).mean()  # pyright: ignore
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(value)
    return value.requires_grad_(False)
