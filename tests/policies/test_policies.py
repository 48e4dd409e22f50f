import json
import math
import os

import pytest
import torch
from scipy.stats import kstest, norm

from mile.envs import make_env, make_policy
from mile.policies import CategoricalPolicy, CheckpointError, GaussianPolicy, load_policy, save_policy
from mile.policies.sampling import draw


def test_categorical_is_boltzmann():
    policy = CategoricalPolicy(3, 4, temperature=0.5)
    observation = torch.randn(2, 3)
    q = policy.values(observation) / 0.5
    torch.testing.assert_close(policy(observation).probs, q.exp() / q.exp().sum(-1, keepdim=True))


@pytest.mark.parametrize("squash", [False, True])
def test_gaussian_log_std_stays_within_its_bounds(squash):
    policy = GaussianPolicy(3, 2, (16,), log_std_bounds=(-2, 1), squash=squash)
    distribution = policy(1e6 * torch.randn(100, 3)).base_dist
    std = (distribution.base_dist if squash else distribution).stddev
    assert std.min() >= math.exp(-2) - 1e-6
    assert std.max() <= math.e + 1e-5


def test_draws_by_inversion_follow_the_distribution():
    torch.manual_seed(0)
    noise = torch.rand(20_000, 1)
    gaussian = torch.distributions.Independent(torch.distributions.Normal(torch.ones(20_000, 1), 2.0), 1)
    assert kstest(draw(gaussian, noise).flatten().numpy(), norm(1, 2).cdf).pvalue > 0.01

    squashed = GaussianPolicy(1, 1, (4,), squash=True)
    observation = torch.zeros(20_000, 1)
    normal = squashed(observation).base_dist.base_dist
    sample = squashed.act(observation, noise=noise, deterministic=False).atanh().flatten().detach()
    assert kstest(sample.numpy(), norm(normal.mean[0].item(), normal.stddev[0].item()).cdf).pvalue > 0.01

    probs = torch.tensor([0.1, 0.0, 0.6, 0.3])
    actions = draw(torch.distributions.Categorical(probs.expand(20_000, 4)), noise)
    torch.testing.assert_close(actions.bincount(minlength=4) / 20_000, probs, atol=0.015, rtol=0)


def test_act_is_the_mode_or_a_sample():
    policy = GaussianPolicy(3, 2, (16,), squash=True)
    observation = torch.randn(5, 3)
    mean, _ = policy.network(observation).chunk(2, -1)
    torch.testing.assert_close(policy.act(observation), mean.tanh())

    sample = policy.act(observation, deterministic=False)
    assert sample.shape == (5, 2)
    assert (sample.abs() < 1).all()


def test_normaliser_standardises_and_travels_in_the_checkpoint(tmp_path):
    policy = GaussianPolicy(3, 2, (16,))
    observations = 5 + 3 * torch.randn(1000, 3)
    policy.normalizer.fit(observations)
    normalized = policy.normalizer(observations)
    torch.testing.assert_close(normalized.mean(0), torch.zeros(3), atol=0.01, rtol=0)

    save_policy(policy, tmp_path / "policy", environment="somewhere")
    loaded = load_policy(tmp_path / "policy", environment="somewhere")
    assert torch.equal(loaded(observations).mean, policy(observations).mean)


def test_squashed_densities_stay_finite_at_the_bounds():
    policy = GaussianPolicy(1, 2, (4,), squash=True)
    log_prob = policy(torch.zeros(2, 1)).log_prob(torch.tensor([[1.0, -1.0], [0.0, 1.0]]))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in policy.parameters())


def test_names_with_dots_are_names(tmp_path):
    for temperature in (0.1, 0.2):
        save_policy(CategoricalPolicy(3, 2, (8,), temperature), tmp_path / f"tau{temperature}", environment="e")
    assert load_policy(tmp_path / "tau0.1").architecture["temperature"] == 0.1


def test_weights_that_are_not_finite_are_refused(tmp_path):
    policy = CategoricalPolicy(3, 2, (8,))
    torch.nn.init.constant_(policy.network[0].weight, math.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        load_policy(save_policy(policy, tmp_path / "policy", environment="e"))


@pytest.fixture
def saved(tmp_path):
    return save_policy(CategoricalPolicy(3, 2, (8,)), tmp_path / "policy", environment="lunarlander")


def test_a_missing_checkpoint_names_those_that_ship():
    with pytest.raises(CheckpointError, match="lunarlander/expert"):
        load_policy("lunarlander/nobody")


def test_another_environment_is_refused(saved):
    with pytest.raises(CheckpointError, match=r"made for environment 'lunarlander', expected 'drawer_open'"):
        load_policy(saved, environment="drawer_open")


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_weights_are_refused(saved, damage):
    content = bytearray(saved.read_bytes())
    content = content[:-10] if damage == "truncate" else content[:-1] + bytes([content[-1] ^ 1])
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="SHA-256"):
        load_policy(saved)


def test_another_architecture_is_refused(saved):
    path = saved.with_suffix(".json")
    path.write_text(path.read_text().replace("8", "9", 1))
    with pytest.raises(CheckpointError, match="does not hold the CategoricalPolicy"):
        load_policy(saved)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_a_bad_json_is_refused(saved, content):
    path = saved.with_suffix(".json")
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(CheckpointError, match=str(path)):
        load_policy(saved)


def test_an_unknown_kind_of_policy_is_refused(saved):
    path = saved.with_suffix(".json")
    description = json.loads(path.read_text())
    path.write_text(json.dumps(description | {"policy": "os.system"}))
    with pytest.raises(CheckpointError, match="expected one of CategoricalPolicy"):
        load_policy(saved)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_bad_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        CategoricalPolicy(3, 2, temperature=temperature)


@pytest.mark.parametrize("policy", [CategoricalPolicy(8, 4), GaussianPolicy(8, 4)])
def test_half_precision_is_for_the_network_alone(policy):
    with torch.autocast("cpu", torch.bfloat16):
        distribution = policy(torch.randn(3, 8))
        assert distribution.log_prob(distribution.sample()).dtype == torch.float32


def test_a_name_that_ships_means_the_policy_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = make_policy(make_env("lunarlander"), hidden_dims=(4,))
    save_policy(own, "lunarlander/initial", environment="lunarlander")
    with pytest.warns(
        UserWarning, match=r"is the policy that ships; the file .* is './lunarlander/initial.safetensors'"
    ):
        shipped = load_policy("lunarlander/initial")
    assert shipped.architecture["hidden_dims"] == [64, 64]
    assert load_policy("./lunarlander/initial").architecture["hidden_dims"] == [4]


@pytest.mark.parametrize("name", ["policy.safetensors", "policy.json"])
def test_a_policy_whose_writing_breaks_off_leaves_the_one_before(tmp_path, monkeypatch, name):
    policy = CategoricalPolicy(3, 2, (4,))
    save_policy(policy, tmp_path / "policy", environment="x")
    before = (tmp_path / name).read_bytes()

    def fill_the_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        save_policy(CategoricalPolicy(3, 2, (4,)), tmp_path / "policy", environment="y")
    assert (tmp_path / name).read_bytes() == before
    assert load_policy(tmp_path / "policy", environment="x")
