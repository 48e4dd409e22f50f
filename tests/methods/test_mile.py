import math
import warnings
from functools import partial

import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, Rounds
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.methods import MILE
from tests.support import quiet_trainer, same_weights


def run(
    folder,
    name="Counting-v0",
    rounds=2,
    ckpt_path=None,
    stop_after=None,
    cost=1.0,
    learning_rate=1e-2,
    frozen=False,
    **options,
):
    """Two small deployment rounds of MILE; returns the module and the trainer."""
    # robot and human
    torch.manual_seed(0)
    env = make_env(name, num_envs=2)
    robot, belief, expert, human_belief = (make_policy(env, hidden_dims=(8,), **options) for _ in range(4))
    human = SimulatedHuman(expert, human_belief, cost=cost, scale=2.0)

    # method and trainer
    deployment = DeploymentCallback(
        TransformedEnv(env, InterventionTransform(human)), num_rounds=rounds, episodes_per_round=2, epochs_per_round=3
    )
    optimizer = partial(torch.optim.Adam, lr=learning_rate)
    method = MILE(robot, belief, cost=cost, scale=2.0, frozen_mental_model=frozen, optimizer=optimizer)
    trainer = quiet_trainer(deployment)

    # fit
    if stop_after is not None:
        deployment.rounds = Rounds(stop_after, epochs=3)
    data = InterventionDataModule(folder / "buffer", name, batch_size=16, seed=3)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return method, trainer


@pytest.mark.parametrize("name", ["Counting-v0", "CountingBox-v0"])
def test_a_repeated_run_gives_the_same_weights_bit_for_bit(tmp_path, name):
    first, _ = run(tmp_path / "first", name)
    second, _ = run(tmp_path / "second", name)
    assert same_weights(first, second)


@pytest.mark.parametrize("kind", [{}, {"name": "CountingBox-v0"}, {"name": "CountingBox-v0", "squash": True}])
def test_a_resumed_run_gives_the_same_weights_bit_for_bit(tmp_path, kind):
    """Squashed policies draw from torch's generator in their loss, so its state has to come along."""
    whole, _ = run(tmp_path / "whole", **kind)
    half, trainer = run(tmp_path / "halves", stop_after=1, **kind)
    assert not same_weights(whole, half)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = run(tmp_path / "halves", ckpt_path=tmp_path / "half.ckpt", **kind)
    assert same_weights(whole, resumed)


def test_a_fresh_run_warns_of_a_recording_that_is_there(tmp_path):
    run(tmp_path, rounds=1)
    with pytest.warns(UserWarning, match="holds 2 episodes; they are not collected anew"):
        run(tmp_path, rounds=1)


def test_a_run_that_diverges_is_stopped(tmp_path):
    with pytest.raises(ValueError, match="the loss became nan in epoch 0; lower the learning rate"):
        run(tmp_path, rounds=1, learning_rate=math.inf)


def test_a_checkpoint_needs_no_unpickling_of_code(tmp_path):
    _, trainer = run(tmp_path, stop_after=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    content = torch.load(tmp_path / "half.ckpt", weights_only=True)
    assert content["hyper_parameters"] == {
        "cost": 1.0,
        "scale": 2.0,
        "intervention_weight": 0.5,
        "policy_weight": None,
        "likelihood": "product",
        "silence_weight": 0.0,
        "frozen_mental_model": False,
        "encoder": "own",
    }


@pytest.mark.parametrize("name", ["Counting-v0", "CountingBox-v0"])
def test_both_networks_learn_and_the_loss_falls(tmp_path, name):
    torch.manual_seed(0)
    env = make_env(name, num_envs=2)
    method = MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), cost=1.0, scale=2.0)
    _, trainer = run(tmp_path, name, rounds=1)
    batch = next(iter(trainer.datamodule.train_dataloader()))

    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    losses = []
    for _ in range(100):
        terms = method.loss(batch)
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step()
        losses.append(terms.loss.item())

    assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())
    assert losses[-1] < 0.7 * losses[0]


def test_intervention_prob_is_a_probability_and_leaves_no_graph():
    env = make_env("Counting-v0")
    method = MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), cost=1.0, scale=2.0)
    prob = method.intervention_prob(TensorDict({"observation": torch.randn(7, 2)}, [7]))
    assert prob.shape == (7,)
    assert not prob.requires_grad
    assert ((prob > 0) & (prob < 1)).all()


def test_a_frozen_mental_model_stays_what_it_was_while_the_policy_learns(tmp_path):
    before, _ = run(tmp_path / "before", learning_rate=0.0)
    joint, _ = run(tmp_path / "joint")
    frozen, _ = run(tmp_path / "frozen", frozen=True)
    assert not same_weights(joint.mental_model, before.mental_model)
    assert same_weights(frozen.mental_model, before.mental_model)
    assert not same_weights(frozen.policy, before.policy)


def test_a_round_without_interventions_warns_and_trains_on(tmp_path):
    with pytest.warns(UserWarning, match="no interventions in round 0"), warnings.catch_warnings():
        method, _ = run(tmp_path, rounds=1, cost=1000.0)
    assert all(parameter.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    "setting",
    [
        {"cost": math.nan},
        {"scale": 0.0},
        {"intervention_weight": 1.5},
        {"intervention_weight": -0.1},
        {"silence_weight": -1.0},
    ],
)
def test_bad_settings_are_refused(setting):
    policy = make_policy(make_env("Counting-v0"), hidden_dims=(4,))
    with pytest.raises(ValueError, match="must"):
        MILE(policy, policy, **({"cost": 1.0, "scale": 1.0} | setting))
