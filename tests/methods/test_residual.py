"""A frozen policy that is corrected where a human is expected to."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mile.envs import make_policy
from mile.methods import Residual
from mile.policies import ResidualPolicy, load_policy, save_policy
from tests.methods.training import ENVIRONMENTS, recorded
from tests.support import same_weights

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


def made(env):
    torch.manual_seed(0)
    base = make_policy(env, hidden_dims=(8,))
    return base, ResidualPolicy.of(base, components=3)


@BOTH
def test_at_first_the_frozen_policy_acts(name):
    env, steps = recorded(name)
    base, policy = made(env)
    assert torch.equal(policy.act(steps["observation"]), base.act(steps["observation"]))
    assert not any(weight.requires_grad for weight in policy.base.parameters())


@BOTH
def test_the_residual_acts_where_the_head_says_so(name):
    env, steps = recorded(name)
    base, policy = made(env)
    observation = steps["observation"]
    with torch.no_grad():
        policy.head[-1].bias.fill_(4.0)
    if "Box" in name:
        residual = policy.residual(observation)
        best = residual.mixture_distribution.logits.argmax(-1)
        means = residual.component_distribution.mean
        expected = base.act(observation) + means[torch.arange(len(best)), best]
    else:
        expected = policy.residual(observation).logits.argmax(-1)
    torch.testing.assert_close(policy.act(observation), expected)


@BOTH
def test_the_loss_step_by_step(name):
    env, steps = recorded(name)
    base, policy = made(env)
    loss = Residual(policy).loss(steps)
    when, how = [], []
    for step in steps:
        logit = policy.intervention_logit(step["observation"])
        when.append(binary_cross_entropy_with_logits(logit, step["intervened"].float()))
        if step["intervened"]:
            action = step["human_action"]
            target = action - base.act(step["observation"]) if "Box" in name else action
            how.append(-policy.residual(step["observation"]).log_prob(target))
    torch.testing.assert_close(loss.intervention_loss, torch.stack(when).mean())
    torch.testing.assert_close(loss.policy_loss, torch.stack(how).mean())


@BOTH
def test_it_learns_the_correction_and_leaves_the_frozen_policy_alone(name):
    env, steps = recorded(name)
    base, policy = made(env)
    method = Residual(policy)
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        method.loss(steps).loss.backward()
        optimizer.step()
    acted = steps["intervened"]
    shown, before = steps["human_action"][acted], base.act(steps["observation"][acted])
    residual = policy.residual(steps["observation"][acted])
    target = shown - before if "Box" in name else shown
    assert residual.log_prob(target).mean() > made(env)[1].residual(steps["observation"][acted]).log_prob(target).mean()
    assert same_weights(policy.base, base)


@BOTH
def test_a_checkpoint_holds_the_frozen_policy_too(tmp_path, name):
    env, steps = recorded(name)
    _, policy = made(env)
    with torch.no_grad():
        policy.head[-1].bias.fill_(4.0)
    save_policy(policy, tmp_path / "corrected", environment=name)
    again = load_policy(tmp_path / "corrected")
    assert torch.equal(again.act(steps["observation"]), policy.act(steps["observation"]))


@pytest.mark.parametrize("options", [{"head": "mixture"}, {"head": "flow"}, {"squash": True}])
def test_actions_that_nothing_can_be_added_to_are_refused(options):
    env, _ = recorded("CountingBox-v0")
    with pytest.raises(ValueError, match=r"discrete or diagonal Gaussian actions; choose policy.head=gaussian"):
        ResidualPolicy.of(make_policy(env, hidden_dims=(8,), **options))


def test_another_policy_is_refused():
    env, _ = recorded("Counting-v0")
    with pytest.raises(ValueError, match=r"needs a ResidualPolicy, got a CategoricalPolicy"):
        Residual(make_policy(env))
