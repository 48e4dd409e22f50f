"""The rules of PPL and APO, and the preference that both share with MILE's joint likelihood."""

import math

import pytest
import torch
from scipy.stats import norm
from tensordict import TensorDict

from mile.envs import make_env, make_policy
from mile.envs.replay import Replay
from mile.methods import APO, PPL, HGDAgger
from mile.methods.apo import desirability
from mile.methods.onsets import before_interventions, first_of_interventions
from mile.preference import preference_log_prob
from tests.methods.training import ENVIRONMENTS, make, recorded, train
from tests.support import marked, same_weights

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


# preferences


def test_a_preference_is_the_link_of_the_scaled_advantage():
    score, comparator = torch.tensor(2.0), torch.tensor(0.5)
    probit = preference_log_prob(score, comparator, cost=0.3, scale=2.0, link="probit")
    assert float(probit) == pytest.approx(math.log(norm.cdf((2.0 - 0.5 - 0.3) / 2)), rel=1e-6)
    logit = preference_log_prob(score, comparator)
    assert float(logit) == pytest.approx(-math.log(1 + math.exp(-1.5)), rel=1e-6)


def test_an_unknown_link_is_named():
    with pytest.raises(ValueError, match=r"^link must be one of probit, logit, got 'step'$"):
        preference_log_prob(torch.zeros(1), torch.zeros(1), link="step")


# before and after an onset


def test_the_steps_around_an_onset_lie_in_their_attempt():
    steps = marked([0, 0, 0, 1, 1, 0, 1, 1, 1, 0])
    assert before_interventions(steps, 2).nonzero().flatten().tolist() == [1, 2, 5]
    assert first_of_interventions(steps, 2).nonzero().flatten().tolist() == [3, 4, 6, 7]

    # two attempts: the second begins with an intervention
    steps["episode"] = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    assert before_interventions(steps, 2).nonzero().flatten().tolist() == [1, 2, 5]
    assert first_of_interventions(steps, 1).nonzero().flatten().tolist() == [3, 4, 6]


# PPL


@BOTH
def test_ppl_is_cloning_and_a_preference_step_by_step(name):
    env, steps = recorded(name)
    method = make(PPL, env, cloning_weight=0.7, beta=0.3, robot_weight=0.5)
    nll, preference = [], []
    for step in steps[steps["intervened"]]:
        policy = method.policy(step["observation"])
        log_human, log_robot = policy.log_prob(step["human_action"]), policy.log_prob(step["robot_action"])
        nll.append(-log_human)
        preference.append(torch.logaddexp(torch.zeros(()), 0.5 * 0.3 * log_robot - 0.3 * log_human))
    loss = method.loss(steps)
    torch.testing.assert_close(loss.policy_loss, torch.stack(nll).mean())
    torch.testing.assert_close(loss.preference_loss, torch.stack(preference).mean())
    torch.testing.assert_close(loss.loss, 0.7 * torch.stack(nll).mean() + torch.stack(preference).mean())


@BOTH
def test_ppl_without_the_robots_action_prefers_as_cloning_does(name):
    """Both push ln π(a_h) up: with no weight of the robot the gradients differ by a factor for each step alone."""
    env, steps = recorded(name)
    steps = steps[steps["intervened"]][:1]
    method = make(PPL, env, cloning_weight=0.0, robot_weight=0.0)
    own = torch.cat([g.flatten() for g in torch.autograd.grad(method.loss(steps).loss, method.policy.parameters())])
    clone = make(HGDAgger, env)
    other = torch.cat([g.flatten() for g in torch.autograd.grad(clone.loss(steps).loss, clone.policy.parameters())])
    assert float(torch.cosine_similarity(own, other, dim=0)) == pytest.approx(1, abs=1e-5)


@BOTH
def test_ppl_prefers_the_human_in_the_states_that_the_robot_was_about_to_reach(name):
    """Against one predicted state at a time."""
    env, steps = recorded(name)
    method = make(PPL, env, beta=0.3, robot_weight=0.5, horizon=2, replay=Replay(name, 0))
    steps["context"] = method.context(steps)
    assert steps["context", "reached"].any(-1).equal(steps["intervened"])

    preference = []
    for step in steps:
        for state, reached in zip(step["context", "states"], step["context", "reached"], strict=True):
            if reached:
                policy = method.policy(state)
                log_human, log_robot = policy.log_prob(step["human_action"]), policy.log_prob(step["robot_action"])
                preference.append(torch.nn.functional.softplus(-0.3 * (log_human - 0.5 * log_robot)))
    torch.testing.assert_close(method.loss(steps).preference_loss, torch.stack(preference).mean())


def test_ppl_needs_a_replay_to_predict():
    env, _ = recorded("Counting-v0")
    with pytest.raises(ValueError, match=r"^horizon \(states\) must be at least 0, and above 0 there must be a replay"):
        make(PPL, env, horizon=2)


# APO


def test_what_is_desirable():
    steps = marked([0, 0, 0, 1, 0, 0])
    steps["episode"] = torch.tensor([0, 0, 0, 0, 1, 1])
    steps["next"] = TensorDict({"success": torch.tensor([False] * 5 + [True])}, [6])
    assert desirability(steps, 2).tolist() == [0, -1, -1, 1, 1, 1]

    steps["next", "success"][3] = True  # the first attempt succeeds as well: the onset still counts
    assert desirability(steps, 2).tolist() == [1, -1, -1, 1, 1, 1]


@BOTH
def test_apo_by_hand(name):
    env, steps = recorded(name)
    method = make(APO, env, beta=0.4, window=1)
    with torch.no_grad():
        for weight in method.policy.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    steps["context"] = method.context(steps)

    # the reference point, over all states
    policies, references = method.policy(steps["observation"]), method.reference(steps["observation"])
    shift = 0.4 * torch.distributions.kl_divergence(policies, references).mean()
    assert shift > 0

    terms = []
    for step in steps:
        sign = int(step["context", "desirable"])
        if not sign:
            continue
        action = step["human_action"] if step["intervened"] else step["robot_action"]
        policy, reference = method.policy(step["observation"]), method.reference(step["observation"])
        ratio = policy.log_prob(action) - reference.log_prob(action)
        terms.append(1 - torch.sigmoid(sign * (0.4 * ratio - shift)))
    torch.testing.assert_close(method.loss(steps).loss, torch.stack(terms).mean())


def test_the_reference_of_a_run_that_goes_on_is_the_same():
    """The data module of a run that goes on may keep what it had asked of `context`."""
    method, again = (APO(make_policy(make_env("Counting-v0"), hidden_dims=(8,))) for _ in range(2))
    steps = TensorDict({"round": torch.zeros(3, dtype=torch.int64)}, [3])
    method.newest_round.fill_(2)
    method.on_train_batch_start(steps, 0)
    with torch.no_grad():
        for parameter in method.policy.parameters():
            parameter.add_(1.0)  # it learns
    again.load_state_dict(method.state_dict())
    again.on_train_batch_start(steps, 1)
    assert same_weights(again.reference, method.reference)
    assert not same_weights(again.reference, again.policy)


def test_the_reference_is_the_policy_that_a_round_begins_with(tmp_path):
    method, _ = train(tmp_path, APO, rounds=2)
    first, _ = train(tmp_path / "one", APO, rounds=1)
    assert same_weights(method.reference, first.policy)
    assert int(method.reference_round) == 1
    assert not same_weights(method.reference, method.policy)
