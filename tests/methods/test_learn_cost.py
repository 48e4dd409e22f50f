"""MILE that learns the human's cost in turns with the networks."""

import json
from functools import partial

import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, HumanCallback, Rounds
from mile.callbacks.human import read_human
from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.methods import MILE
from mile.timing import Delayed, Memoryless, Sticky
from tests.support import quiet_trainer, same_weights

STICKY = Sticky(release_cost=-3.0)


def parts(name, timing):
    """Return an environment, three random policies, and a human of a kind."""
    torch.manual_seed(0)
    env = make_env(name, num_envs=2)
    policies = [make_policy(env, hidden_dims=(8,)) for _ in range(2)]
    human = SimulatedHuman(policies[0], policies[1], cost=0.5, scale=2.0, timing=timing)
    return env, policies, human


def run(folder, name="Counting-v0", timing=STICKY, rounds=2, stop_after=None, ckpt_path=None, **options):
    """Train in rounds of two episodes and three epochs, and return the method and the trainer."""
    folder.mkdir(exist_ok=True)
    env, (policy, mental_model), human = parts(name, timing)
    deployment = DeploymentCallback(
        TransformedEnv(env, InterventionTransform(human)), num_rounds=rounds, episodes_per_round=2, epochs_per_round=3
    )
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    method = MILE(policy, mental_model, 1.5, 2.0, timing=timing, learn_cost=True, optimizer=optimizer, **options)
    trainer = quiet_trainer(deployment, HumanCallback(folder / "human.json"))
    if stop_after is not None:
        deployment.rounds = Rounds(stop_after, epochs=3)
    data = InterventionDataModule(folder / "buffer", name, batch_size=16, seed=3)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return method, trainer


@pytest.mark.parametrize("name", ["Counting-v0", "CountingBox-v0"])
@pytest.mark.parametrize("timing", [Memoryless(), STICKY, Delayed(release_cost=-3.0, median_delay=2.0)])
def test_a_run_learns_the_cost_holds_the_scale_and_writes_both_down(tmp_path, name, timing):
    method, _ = run(tmp_path / "run", name, timing, rounds=1)
    assert isinstance(method.cost, float)
    assert method.cost != 1.5
    assert method.scale == 2.0
    assert type(method.timing) is type(timing)
    human = read_human(tmp_path / "run" / "human.json")
    assert human["scale"] == (2.0, 2.0, 2.0)
    estimate, low, high = human["cost"]
    assert low <= estimate <= high
    assert ("release_cost" in human) == isinstance(timing, Sticky)


def test_with_the_humans_own_networks_the_human_is_recovered():
    env, (policy, mental_model), human = parts("Counting-v0", Memoryless())
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(human)), policy, 40, seed=0)
    method = MILE(policy, mental_model, 3.0, 2.0, learn_cost=True)
    fit = method.fit_human(steps)
    low, high = fit.intervals["cost"]
    assert low < 0.5 < high
    assert high - low < 1
    assert method.context(steps) is None  # a human without memory needs none
    assert method.cost == pytest.approx(fit.cost, abs=1e-2)


def test_a_resumed_run_is_the_same_bit_for_bit_and_keeps_the_human(tmp_path):
    whole, _ = run(tmp_path / "whole")
    half, trainer = run(tmp_path / "halves", stop_after=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    human = torch.load(tmp_path / "half.ckpt", weights_only=True)["human"]
    assert human["parameters"] == {"cost": half.cost, "release_cost": half.timing.release_cost}
    resumed, _ = run(tmp_path / "halves", ckpt_path=tmp_path / "half.ckpt")
    assert same_weights(whole, resumed)
    assert (whole.cost, whole.timing) == (resumed.cost, resumed.timing)


def test_between_fits_the_human_stays_what_they_were():
    env, (policy, mental_model), human = parts("Counting-v0", STICKY)
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(human)), policy, 4, seed=0)
    method = MILE(policy, mental_model, 3.0, 2.0, timing=STICKY, learn_cost=True)
    assert set(method.context(steps).keys()) == {"in_control"}
    learnt = method.cost
    method.__class__ = type("InEpochOne", (MILE,), {"current_epoch": 1})
    method.cost = 3.0
    method.context(steps)
    assert method.cost == 3.0
    method.context(steps[: int(steps["step"].argmin()) + len(steps) - 1])  # other attempts
    assert method.cost != 3.0
    assert abs(method.cost - learnt) < 1


def test_bad_input_is_named(tmp_path):
    _, (policy, mental_model), _ = parts("Counting-v0", STICKY)
    with pytest.raises(ValueError, match=r"fit_every .* must be at least 1, got 0"):
        MILE(policy, mental_model, 1.0, 2.0, fit_every=0)
    (tmp_path / "human.json").write_text(json.dumps({"cost": 3}))
    with pytest.raises(ValueError, match=r"human.json"):
        read_human(tmp_path / "human.json")
