"""The cases of each baseline's rule; `test_methods.py` has what holds for all methods."""

import math
from functools import partial

import pytest
import torch
from tensordict import TensorDict

from mile.envs import make_env
from mile.ingredients.cloning import clone_policy
from mile.methods import IWR, RLIF, BCIntervention, HGDAgger
from mile.methods.sirius import StepClass, class_weights, step_classes
from mile.transitions import DEMONSTRATION
from tests.methods.training import ENVIRONMENTS, Never, make, recorded, train
from tests.support import marked, same_weights

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


# HG-DAgger


def test_hg_dagger_adds_exactly_the_steps_of_the_human():
    weights = HGDAgger.sampling_weights(None, marked([0, 0, 1, 1, 0]))
    assert weights.nonzero().flatten().tolist() == [2, 3]


@BOTH
def test_hg_dagger_learns_nothing_where_nobody_intervened(tmp_path, name):
    with pytest.warns(UserWarning, match="no interventions"):
        method, trainer = train(tmp_path, HGDAgger, name, Never("Box" in name))
    assert trainer.global_step == 0
    assert same_weights(method, make(HGDAgger, make_env(name)))
    assert trainer.current_epoch == 6


def test_hg_dagger_serves_the_steps_of_the_human_alone_and_all_equally_often(tmp_path):
    _, trainer = train(tmp_path, HGDAgger, rounds=1)
    data = trainer.datamodule
    data.trainer = trainer
    served = torch.cat(list(data.batches()))

    expected = data.buffer.steps[data.buffer.steps["intervened"]]
    rows, often = torch.stack([served["episode"], served["step"]], -1).unique(dim=0, return_counts=True)
    assert torch.equal(rows, torch.stack([expected["episode"], expected["step"]], -1).unique(dim=0))
    assert often.max() - often.min() <= 1  # the last batch is filled up by the next pass


def test_hg_dagger_is_behaviour_cloning_where_the_human_always_acts():
    """Against the cloning that makes the ingredients: same rows, same optimiser, same weights."""
    env, steps = recorded("CountingBox-v0")
    steps["human_action"], steps["intervened"] = steps["robot_action"] + 0.1, torch.ones_like(steps["intervened"])
    method, other = make(HGDAgger, env), make(HGDAgger, env).policy
    method.policy.normalizer.fit(steps["observation"])
    clone_policy(other, steps, steps["human_action"], steps=1, batch_size=64, learning_rate=1e-2)

    # one step by hand
    rows = torch.randint(len(steps), (64,), generator=torch.Generator().manual_seed(0))
    optimizer = method.configure_optimizers()
    method.loss(steps[rows]).loss.backward()
    optimizer.step()
    assert same_weights(method.policy, other)


# IWR


def test_iwr_draws_interventions_and_the_rest_half_and_half():
    weights = make(IWR, make_env("Counting-v0")).sampling_weights(marked([1] * 20 + [0] * 80))
    assert weights.unique().tolist() == [1, 4]
    drawn = torch.multinomial(weights, 10_000, replacement=True, generator=torch.Generator().manual_seed(0))
    assert (drawn < 20).double().mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("nu", [0, 1])
def test_iwr_draws_all_equally_often_where_all_is_alike(nu):
    assert make(IWR, make_env("Counting-v0")).sampling_weights(marked([nu] * 5)).tolist() == [1] * 5


def test_iwr_counts_demonstrations_as_no_interventions():
    steps = torch.cat([marked([1] * 5, round_=DEMONSTRATION), marked([1, 0, 0, 0, 0])])
    assert make(IWR, make_env("Counting-v0")).sampling_weights(steps).tolist() == [1] * 5 + [9] + [1] * 4


def test_the_data_module_draws_as_iwr_says(tmp_path):
    _, trainer = train(tmp_path, IWR, rounds=1, batch_size=1000, batches_per_epoch=20)
    trainer.datamodule.trainer = trainer
    served = torch.cat(list(trainer.datamodule.batches()))
    assert len(served) == 20_000  # many passes over what is recorded
    share = served["intervened"].double().mean()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / len(served))


# Sirius


def test_sirius_weighs_by_class():
    weights = class_weights(torch.tensor([0.10, 0.20, 0.05, 0.65], dtype=torch.float64), 0.5, 0.002)
    torch.testing.assert_close(weights, torch.tensor([1, 2.5, 0.04, 0.398 / 0.65], dtype=torch.float64))
    assert weights[3] == pytest.approx(0.612308, abs=1e-6)
    assert torch.dot(weights, torch.tensor([0.10, 0.20, 0.05, 0.65], dtype=torch.float64)) == pytest.approx(1)


def test_sirius_divides_by_no_absent_class():
    for shares in torch.eye(4, dtype=torch.float64):
        assert class_weights(shares, 0.5, 0.002).isfinite().all()
    full = class_weights(torch.tensor([0.6, 0.4, 0.0, 0.0], dtype=torch.float64), 0.5, 0.002)
    torch.testing.assert_close(full, torch.tensor([1, 1.25, 0, 0], dtype=torch.float64))  # robot: not below 0


def test_sirius_labels_the_steps_before_an_onset():
    classes = step_classes(marked([0] * 20 + [1] * 5), 15)
    assert (classes == StepClass.PRE_INTERVENTION).nonzero().flatten().tolist() == list(range(5, 20))
    assert (classes == StepClass.INTERVENTION).nonzero().flatten().tolist() == list(range(20, 25))


def test_sirius_stops_at_an_earlier_intervention_and_at_the_episode():
    classes = step_classes(marked([1, 0, 0, 1, 0, 0], [0, 0, 1]), 15)
    robot, before, human = StepClass.ROBOT, StepClass.PRE_INTERVENTION, StepClass.INTERVENTION
    assert classes.tolist() == [human, before, before, human, robot, robot, before, before, human]
    assert step_classes(marked([1, 1]), 15).tolist() == [human, human]


def test_sirius_tells_demonstrations_apart():
    steps = torch.cat([marked([1] * 3, round_=DEMONSTRATION), marked([0, 1])])
    demo = StepClass.DEMONSTRATION
    assert step_classes(steps, 15).tolist() == [demo] * 3 + [StepClass.PRE_INTERVENTION, StepClass.INTERVENTION]


# BC intervention


@BOTH
def test_the_gradient_of_the_bce_does_not_reach_the_policy(name):
    env, steps = recorded(name)
    method = make(BCIntervention, env)
    method.loss(steps).intervention_loss.backward()
    assert all(parameter.grad is None for parameter in method.policy.parameters())
    assert all(parameter.grad is not None for parameter in method.head.parameters())


@BOTH
def test_bc_intervention_without_interventions_has_no_nll(name):
    env, steps = recorded(name, Never("Box" in name))
    terms = make(BCIntervention, env).loss(steps)
    assert terms.policy_loss == 0
    assert terms.loss.isfinite()
    assert terms.loss.item() == pytest.approx(0.5 * terms.intervention_loss.item())


def test_the_head_learns_when_the_human_intervenes():
    env, steps = recorded("Counting-v0", episodes=20)
    steps["human_action"] = steps["robot_action"]
    steps["intervened"] = steps["observation"][:, 1] > 10  # late in an episode

    method = make(BCIntervention, env)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-2)
    for _ in range(200):
        optimizer.zero_grad()
        method.loss(steps).intervention_loss.backward()
        optimizer.step()

    prob = method.intervention_prob(steps)
    assert not prob.requires_grad
    assert ((prob > 0.5) == steps["intervened"]).double().mean() > 0.95


@BOTH
def test_with_a_shared_trunk_the_policy_learns_from_nu(name):
    env, steps = recorded(name)
    method = make(BCIntervention, env, shared_trunk=True)
    method.loss(steps).intervention_loss.backward()
    moved = {key for key, weight in method.policy.named_parameters() if weight.grad is not None}
    assert moved == {"network.0.weight", "network.0.bias"}  # the hidden layer, not the outputs
    assert len(list(method.head.parameters())) == 2


def test_with_a_shared_trunk_no_intervention_is_one_more_class():
    """Against the cross-entropy of torch, over the actions and the class "none"."""
    env, steps = recorded("Counting-v0")
    method = make(BCIntervention, env, shared_trunk=True)
    observation, intervened = steps["observation"], steps["intervened"]
    logits = method.policy(observation).logits + method.logit(steps).unsqueeze(-1)
    classes = torch.cat([logits, torch.zeros(len(steps), 1)], -1)
    none = logits.shape[-1]
    labels = torch.where(intervened, steps["human_action"], none)
    torch.testing.assert_close(method.loss(steps).loss, torch.nn.functional.cross_entropy(classes, labels))


# RLIF


def transition(name, *, terminated, success, truncated=False, reward=0.0):
    """One transition as `ReplayDataModule` serves it."""
    torch.manual_seed(3)
    flag = partial(torch.full, (1, 1))
    action = torch.zeros(1, 2) if "Box" in name else torch.zeros(1, dtype=torch.int64)
    following = {
        "observation": torch.ones(1, 2),
        "reward": flag(reward),
        "terminated": flag(terminated),
        "truncated": flag(truncated),
        "done": flag(terminated or truncated),
        "success": torch.tensor([success]),
    }
    return TensorDict({"observation": torch.ones(1, 2), "action": action, "next": TensorDict(following, [1])}, [1])


@BOTH
@pytest.mark.parametrize(("failure", "value"), [("published", 0.0), ("absorbing", -4.0)])
def test_a_crash_is_worth_nothing_more_or_a_punishment_for_ever(name, failure, value):
    """At a true end the target is the reward alone, so that a crash is as good as a success paid with its value."""
    method = make(RLIF, make_env(name), squash="Box" in name, discount=0.75, failure=failure)
    crash = method.loss(transition(name, terminated=True, success=False))
    paid = method.loss(transition(name, terminated=True, success=True, reward=value))
    assert crash == paid
    assert (crash == method.loss(transition(name, terminated=True, success=True))) == (failure == "published")


@BOTH
@pytest.mark.parametrize("truncated", [False, True])
def test_what_goes_on_or_runs_out_of_time_is_no_crash(name, truncated):
    losses = []
    for failure in ("published", "absorbing"):
        method = make(RLIF, make_env(name), squash="Box" in name, failure=failure)
        torch.manual_seed(0)  # of the critics in the target
        losses.append(method.loss(transition(name, terminated=False, truncated=truncated, success=False)))
    assert losses[0] == losses[1]


def test_an_unknown_value_of_failures_is_refused():
    with pytest.raises(ValueError, match="failure must be 'published' or 'absorbing', got 'crash'"):
        make(RLIF, make_env("Counting-v0"), failure="crash")
