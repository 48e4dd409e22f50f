"""Policies that are told how good an action was."""

import pytest
import torch

from mile.envs import make_policy
from mile.methods import AdvantageConditioned
from mile.methods.advantage import n_step_advantage, steps_to_success
from mile.policies import ConditionedPolicy, load_policy, save_policy
from tests.methods.training import ENVIRONMENTS, recorded

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


def made(env):
    torch.manual_seed(0)
    base = make_policy(env, hidden_dims=(8,))
    return base, ConditionedPolicy.of(base)


@BOTH
def test_at_first_it_acts_as_before_whatever_it_is_told(tmp_path, name):
    env, steps = recorded(name)
    base, policy = made(env)
    base.normalizer.fit(steps["observation"])
    policy = ConditionedPolicy.of(base)
    assert policy.normalizer.fitted  # which a gate's values copy
    expected = base.act(steps["observation"])
    for told in (-1.0, 0.0, 1.0):
        distribution = policy.told(steps["observation"], quality=torch.full([len(steps)], told))
        torch.testing.assert_close(distribution.mean if "Box" in name else distribution.logits.argmax(-1), expected)
    save_policy(policy, tmp_path / "conditioned", environment=name)
    torch.testing.assert_close(load_policy(tmp_path / "conditioned").act(steps["observation"]), expected)


def test_the_value_counts_the_steps_to_success():
    success = torch.tensor([[False, False, True, False], [False, False, False, False]])
    valid = torch.tensor([[True, True, True, False], [True, True, True, True]])
    values = steps_to_success(success, valid, 10)
    torch.testing.assert_close(values, torch.tensor([[-0.3, -0.2, -0.1, 0.0], [-1.0, -1.0, -1.0, -1.0]]))


def test_an_advantage_is_what_comes_less_what_was_expected():
    values = torch.tensor([[-0.5, -0.4, -0.9, 0.0]])
    returns = torch.tensor([[-0.3, -0.2, -0.1, 0.0]])
    valid = torch.tensor([[True, True, True, False]])
    advantage = n_step_advantage(values, returns, valid, horizon=2, step_cost=0.1)
    torch.testing.assert_close(advantage[valid], torch.tensor([-0.9 - 0.2 + 0.5, -0.2 + 0.4, -0.1 + 0.9]))


@BOTH
def test_what_a_human_did_is_good_and_the_loss_is_cloning_of_all(name):
    env, steps = recorded(name)
    _, policy = made(env)
    method = AdvantageConditioned(policy, dropout=0.0, threshold=10.0)
    steps["context"] = method.context(steps)
    assert torch.equal(steps["context", "quality"] == 1, steps["intervened"])

    terms = []
    for step in steps:
        action = step["human_action"] if step["intervened"] else step["robot_action"]
        terms.append(-policy.told(step["observation"], quality=step["context", "quality"]).log_prob(action))
    torch.testing.assert_close(method.loss(steps).policy_loss, torch.stack(terms).mean())


def test_of_two_actions_the_better_one_is_taken():
    """Cloning averages both; what is told tells them apart."""
    policy = ConditionedPolicy.of(make_policy(recorded("CountingBox-v0")[0], hidden_dims=(16,)))
    observation = torch.zeros(64, policy.architecture["observation_dim"])
    quality = torch.tensor([1.0, -1.0] * 32)
    action = 0.5 * quality.unsqueeze(-1).expand(-1, policy.architecture["action_dim"])
    optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        (-policy.told(observation, quality=quality).log_prob(action)).mean().backward()
        optimizer.step()
    torch.testing.assert_close(policy.act(observation[:1]), action[:1], atol=0.05, rtol=0)


def test_another_policy_is_refused():
    env, _ = recorded("Counting-v0")
    with pytest.raises(ValueError, match="needs a ConditionedPolicy, got a CategoricalPolicy"):
        AdvantageConditioned(make_policy(env))
