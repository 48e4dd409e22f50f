"""Every method learns from pictures beside a vector, and MILE from pictures alone."""

import pytest
import torch

from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import make_env, make_policy
from mile.ingredients.cloning import clone_policy
from mile.methods import APO, MILE, PPL, AdvantageConditioned, BCIntervention, Residual
from mile.policies import load_policy, save_policy
from mile.transitions import observed
from tests.methods.training import BOUNDED, CLONING, supervised, train
from tests.support import same_weights

METHODS = [*CLONING, BCIntervention, APO, PPL, *BOUNDED, Residual, AdvantageConditioned]
NAMES = ["CountingShown-v0", "CountingShownBox-v0"]


def late(step):
    return step.set("action", (step["observation"][..., 1] > 9).long())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", METHODS)
def test_every_method_learns_from_pictures(tmp_path, kind, name):
    method, trainer = train(tmp_path, kind, name)
    encoders = [key for key in method.policy.state_dict() if "encoders.pixels" in key]
    assert trainer.global_step > 0
    assert encoders
    assert all(weight.isfinite().all() for weight in method.parameters())


def test_a_run_from_pictures_resumes_bit_for_bit(tmp_path):
    whole, _ = train(tmp_path / "whole", PPL, NAMES[0], shift=2)
    _, trainer = train(tmp_path / "part", PPL, NAMES[0], stop_after=1, rounds=1, shift=2)
    trainer.save_checkpoint(tmp_path / "middle.ckpt")
    again, _ = train(tmp_path / "part", PPL, NAMES[0], ckpt_path=tmp_path / "middle.ckpt", shift=2)
    assert same_weights(whole, again)


def test_what_a_picture_alone_shows_is_cloned(tmp_path):
    """The robot acts by the number of the step, which the picture alone shows to the policy."""
    env = make_env("CountingShown-v0", stack=2)
    torch.manual_seed(0)
    policy = make_policy(env, in_keys=["pixels"], encoder={"width": 32}, hidden_dims=(32,))
    assert policy.architecture["observation_dim"] == 0
    steps = collect_episodes(env, late, 8, seed=0)
    assert observed(steps) == ("observation", "pixels")
    nll = clone_policy(policy, steps, steps["robot_action"], steps=300, batch_size=64)
    assert nll < 0.1

    save_policy(policy, tmp_path / "policy", environment=env.name)
    again = load_policy(tmp_path / "policy")
    assert again.in_keys == ("pixels",)
    copied = collect_episodes(env, again, 2, seed=5)
    assert (copied["robot_action"] == (copied["step"] > 9)).double().mean() > 0.9


def test_miles_networks_are_those_of_their_pictures(tmp_path):
    env = make_env(NAMES[1], num_envs=2, stack=3)
    torch.manual_seed(0)
    mental_model = make_policy(env, in_keys=["pixels"], hidden_dims=(8,))
    policy = make_policy(env, in_keys=["pixels"], hidden_dims=(8,))
    method = MILE(policy, mental_model, cost=1.0, scale=2.0)
    data = InterventionDataModule(tmp_path, NAMES[1], batch_size=32, stack=3)
    steps = collect_episodes(supervised(env, NAMES[1]), policy, 3, seed=0)
    for number in range(3):
        data.buffer.append(steps[steps["episode"] == number])
    batch = next(data.batches())
    assert batch["pixels"].shape == (32, 3, 36, 40, 3)
    method.loss(batch).loss.backward()
    assert all(weight.grad.isfinite().all() for weight in method.parameters())

    # predicted for a batch as for each step alone
    prob = method.predict(batch)
    torch.testing.assert_close(prob, torch.cat([method.predict(step.unsqueeze(0)) for step in batch]))


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_another_picture_is_refused(name):
    env = make_env(name, stack=4)
    policy = make_policy(make_env(name, stack=2), hidden_dims=(8,))
    with pytest.raises(ValueError, match=r"'shape': \[4, 36, 40, 3\].*got a .*'shape': \[2, 36, 40, 3\]"):
        collect_episodes(env, policy, 1)
    with pytest.raises(ValueError, match=r"a policy that acts on .camera. does not fit .*, which shows obs"):
        make_policy(env, in_keys=["camera"])


def encoders_gradient(policy):
    return torch.cat([parameter.grad.flatten() for parameter in policy.encoders.parameters()])


@pytest.mark.parametrize("silence_weight", [0.0, 1.0])
@pytest.mark.parametrize("name", NAMES)
def test_a_shared_encoder_is_trained_by_both_networks_and_a_detached_one_by_cloning(name, silence_weight):
    """With the same weights twice the loss is the same, and its gradient the sum of both; by cloning that of J2."""
    env = make_env(name, num_envs=2, stack=2)
    steps = collect_episodes(supervised(env, name), make_policy(env, hidden_dims=(8,)), 2, seed=0)
    batch = steps[torch.arange(24)]
    batch["pixels"] = torch.stack([batch["pixels"]] * 2, 1)  # stacks of twice the same

    results = {}
    for encoder in ("own", "shared", "detached"):
        torch.manual_seed(0)
        policy, mental_model = (make_policy(env, hidden_dims=(8,)) for _ in range(2))
        mental_model.encoders.load_state_dict(policy.encoders.state_dict())
        options = {"cost": 1.0, "scale": 2.0, "spread": 1.0, "silence_weight": silence_weight}
        method = MILE(policy, mental_model, encoder=encoder, **options)
        terms = method.loss(batch)
        terms.loss.backward()
        results[encoder] = (terms, encoders_gradient(policy), encoders_gradient(mental_model), method)
    for encoder in ("shared", "detached"):
        torch.testing.assert_close(results[encoder][0].loss, results["own"][0].loss)
        assert results[encoder][3].mental_model.encoders is results[encoder][3].policy.encoders
    both = results["own"][1] + results["own"][2]
    torch.testing.assert_close(results["shared"][1], both)

    # what cloning alone trains: the loss less that of when
    own = results["own"][3]
    own.zero_grad()
    terms = own.loss(batch)
    weight = 1.0 if own.policy.is_discrete else 0.5
    (terms.loss - weight * terms.intervention_loss).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in own.policy.encoders.parameters()])
    torch.testing.assert_close(results["detached"][1], expected, atol=1e-7, rtol=1e-4)

    # predictions, too, and weights that are kept
    torch.testing.assert_close(results["shared"][3].predict(batch), results["own"][3].predict(batch))
    results["shared"][3].load_state_dict(results["shared"][3].state_dict())


def test_encoders_that_cannot_be_shared_are_refused():
    env = make_env(NAMES[0], stack=2)
    policy = make_policy(env, hidden_dims=(8,))
    other = make_policy(env, hidden_dims=(8,), encoder={"width": 32})
    with pytest.raises(ValueError, match=r"needs the same pictures and widths .*32.* and .*256"):
        MILE(policy, other, 1.0, 1.0, encoder="shared")
    vector = make_policy(make_env("Counting-v0"), hidden_dims=(8,))
    with pytest.raises(ValueError, match="a shared encoder needs the same pictures"):
        MILE(vector, vector, 1.0, 1.0, encoder="shared")
