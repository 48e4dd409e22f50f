"""RLPD's losses against the same computed one critic at a time."""

import pytest
import torch
from tensordict import TensorDict
from torch.distributions import Normal
from torchrl.objectives import SoftUpdate

from mile.envs import make_env, make_policy
from mile.policies import GaussianPolicy
from mile.rl.rlpd import QNetwork, RLPDLoss

DISCOUNT = 0.9


@pytest.fixture
def setting():
    torch.manual_seed(0)
    env = make_env("CountingBox-v0", num_envs=2)
    policy = make_policy(env, hidden_dims=(8,), squash=True)
    loss = RLPDLoss(policy, env.action_spec_unbatched, num_critics=4, num_target_critics=2, discount=DISCOUNT)
    SoftUpdate(loss, tau=0.5).step()

    for parameter in loss.qvalue_network_params.parameters():  # so that targets are other critics
        parameter.data.add_(0.1 * torch.randn_like(parameter))

    batch = TensorDict(
        {
            "observation": torch.randn(6, 2),
            "action": torch.rand(6, 2) * 2 - 1,
            "next": {
                "observation": torch.randn(6, 2),
                "reward": torch.randn(6, 1),
                "terminated": torch.tensor([[True], [False]] * 3),
                "done": torch.tensor([[True], [True], [False]] * 2),
            },
        },
        [6],
    )
    return policy, loss, batch


def values(loss, number, observation, action, target=False):
    """Q of one critic, done by hand."""
    # its weights
    parameters = loss.target_qvalue_network_params if target else loss.qvalue_network_params
    weights = parameters[number].flatten_keys(".")
    first = next(key for key in sorted(weights.keys()) if key.endswith("network.0.weight"))
    prefix = first.removesuffix("0.weight")

    # its layers
    hidden = torch.nn.functional.linear(
        torch.cat([observation, action], -1), weights[f"{prefix}0.weight"], weights[f"{prefix}0.bias"]
    )
    hidden = torch.nn.functional.layer_norm(hidden, (8,), weights[f"{prefix}1.weight"], weights[f"{prefix}1.bias"])
    out = torch.nn.functional.linear(hidden.relu(), weights[f"{prefix}3.weight"], weights[f"{prefix}3.bias"])
    return out.squeeze(-1)


def test_the_critics_go_by_the_lower_of_two_targets_without_entropy_and_stop_at_the_end_of_the_task(setting):
    policy, loss, batch = setting
    torch.manual_seed(1)
    critic_loss = loss.critic_loss(batch)

    # the least of two targets
    torch.manual_seed(1)
    pair = torch.randperm(4)[:2].tolist()
    mean, std = policy.mean_and_std(batch["next", "observation"])
    action = (mean + std * torch.randn_like(mean)).tanh()
    observation = batch["next", "observation"]
    least = torch.stack([values(loss, i, observation, action, target=True) for i in pair]).amin(0)

    # TD errors
    alive = ~batch["next", "terminated"].squeeze(-1)  # done by running out of time is no end
    target = batch["next", "reward"].squeeze(-1) + DISCOUNT * alive * least
    errors = [(values(loss, i, batch["observation"], batch["action"]) - target) ** 2 for i in range(4)]
    torch.testing.assert_close(critic_loss, torch.stack(errors).sum(0).mean())


def test_the_actor_goes_by_the_mean_of_all_critics(setting):
    policy, loss, batch = setting
    torch.manual_seed(1)
    actor_loss, temperature_loss = loss.policy_loss(batch)

    # the same action, by hand
    torch.manual_seed(1)
    mean, std = policy.mean_and_std(batch["observation"])
    inner = mean + std * torch.randn_like(mean)
    action = inner.tanh()
    log_prob = (Normal(mean, std).log_prob(inner) - (1 - action**2).log()).sum(-1)
    value = torch.stack([values(loss, i, batch["observation"], action) for i in range(4)]).mean(0)

    torch.testing.assert_close(actor_loss, (0.1 * log_prob - value).mean())  # the temperature starts at 0.1
    (slope,) = torch.autograd.grad(temperature_loss, loss.log_alpha)
    torch.testing.assert_close(slope, -(log_prob - 1).mean().detach())  # target entropy −|A|/2


def test_critics_may_begin_elsewhere_than_at_0():
    policy = GaussianPolicy(3, 2, (8,), squash=True)
    torch.manual_seed(1)
    low = QNetwork(policy, True, initial_value=-100.0)
    torch.manual_seed(1)
    zero = QNetwork(policy, True)
    states, actions = torch.randn(5, 3), torch.rand(5, 2)
    torch.testing.assert_close(low(states, actions), zero(states, actions) - 100)


def test_a_policy_whose_actions_are_only_clipped_is_refused():
    env = make_env("CountingBox-v0")
    with pytest.raises(ValueError, match="squash=True"):
        RLPDLoss(make_policy(env), env.action_spec_unbatched)


def test_each_loss_reaches_its_own_networks_alone(setting):
    policy, loss, batch = setting
    loss.critic_loss(batch).backward()
    assert all(parameter.grad is None for parameter in policy.parameters())
    for parameter in loss.parameters():
        parameter.grad = None
    sum(loss.policy_loss(batch)).backward()
    assert all(parameter.grad is not None for parameter in policy.network.parameters())
    assert all(parameter.grad is None for parameter in loss.qvalue_network_params.parameters())
