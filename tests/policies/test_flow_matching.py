"""Flow matching: where a known velocity leads, what is learnt of two ways, and who refuses it."""

import pytest
import torch
from torch.distributions import Normal

from mile.envs import make_env, make_policy
from mile.methods import APO, MILE, PPL, HGDAgger
from mile.policies import FlowMatchingPolicy, GaussianPolicy, load_policy, save_policy
from mile.policies.flow_matching import FlowMatching
from mile.policies.sampling import draw, mode

MEAN, STD = 0.7, 0.3


def to_a_gaussian():
    """The field that carries standard normal noise to N(MEAN, STD²) on straight paths, in closed form."""

    def velocity(point, time):
        variance = (1 - time) ** 2 + (time * STD) ** 2
        slope = (time * STD**2 - (1 - time)) / variance
        return MEAN + slope * (point - time * MEAN)

    return FlowMatching(velocity, torch.zeros(5, 1, dtype=torch.float64))


def test_noise_is_carried_to_the_distribution(monkeypatch):
    monkeypatch.setattr("mile.policies.flow_matching.STEPS", 1000)
    field = to_a_gaussian()
    noise = torch.linspace(0.01, 0.99, 5, dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(draw(field, noise), Normal(MEAN, STD).icdf(noise), atol=2e-3, rtol=0)
    torch.testing.assert_close(mode(field), torch.full((5, 1), MEAN, dtype=torch.float64), atol=0.05, rtol=0)


def test_the_score_is_the_error_of_the_velocity():
    """At its best the field misses by the spread of what leads through a point: its variance is known."""
    field, generator = to_a_gaussian(), torch.Generator().manual_seed(0)
    times = torch.full((100_000, 1, 1), 0.6, dtype=torch.float64)
    noise = torch.randn(100_000, 1, 1, generator=generator, dtype=torch.float64)
    action = MEAN + STD * torch.randn(100_000, 1, 1, generator=generator, dtype=torch.float64)
    score = field.scores(action, times, noise).mean()
    through = (STD / (0.16 + (0.6 * STD) ** 2) ** 0.5) ** 2  # Var[x₁ − x₀ | x_t]
    assert float(score) == pytest.approx(-0.5 * through, rel=0.02)


def test_two_ways_are_learnt():
    torch.manual_seed(0)
    policy = FlowMatchingPolicy(2, 1, (64, 64))
    optimizer = torch.optim.Adam(policy.parameters(), 3e-3)
    for _ in range(400):
        side = torch.randint(2, (256, 1)) * 2.0 - 1
        action = 0.8 * side + 0.05 * torch.randn(256, 1)
        loss = -policy(torch.zeros(256, 2)).log_prob(action).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    samples = policy(torch.zeros(2000, 2)).sample().squeeze(-1)
    assert 0.4 < float((samples > 0).float().mean()) < 0.6
    assert float(((samples.abs() - 0.8).abs() < 0.25).float().mean()) > 0.9
    assert abs(abs(float(mode(policy(torch.zeros(1, 2))))) - 0.8) < 0.2


def test_a_checkpoint_is_read_back(tmp_path):
    policy = FlowMatchingPolicy(3, 2, (8,))
    path = save_policy(policy, tmp_path / "policy", environment="CountingBox-v0")
    observation, noise = torch.randn(4, 3), torch.rand(4, 2)
    one, other = (each.act(observation, noise=noise, deterministic=False) for each in (policy, load_policy(path)))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", [MILE, PPL, APO])
def test_a_method_that_compares_densities_refuses_it(kind):
    policy = make_policy(make_env("two_ways"), head="flow_matching", hidden_dims=(8,))
    mental = {"mental_model": GaussianPolicy(2, 1, (8,)), "cost": 1.0, "scale": 1.0} if kind is MILE else {}
    with pytest.raises(ValueError, match="needs a policy with a density, and a FlowMatchingPolicy has none; choose"):
        kind(policy, **mental)
    assert HGDAgger(policy).policy is policy


def test_chunks_refuse_it():
    with pytest.raises(ValueError, match="a FlowMatchingPolicy has none"):
        make_policy(make_env("two_ways"), head="flow_matching", chunk=2)
