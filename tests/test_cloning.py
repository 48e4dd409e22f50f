import pytest
import torch

from mile.cloning import clone_policy, clone_rollouts
from mile.envs import make_env, make_policy
from mile.policies import CategoricalPolicy, GaussianPolicy, load_policy


def test_a_gaussian_is_cloned_to_its_likelihood():
    """Actions 2 s + noise of std 0.5: the best NLL is the noise's entropy."""
    generator = torch.Generator().manual_seed(0)
    observations = 3 + torch.randn(2000, 1, generator=generator)
    actions = 2 * observations + 0.5 * torch.randn(2000, 1, generator=generator)
    torch.manual_seed(0)
    nll = clone_policy(GaussianPolicy(1, 1, (32,)), observations, actions, steps=1500, learning_rate=1e-2)
    entropy = torch.distributions.Normal(0.0, 0.5).entropy().item()
    assert nll == pytest.approx(entropy, abs=0.05)


def test_a_robot_is_imitated():
    torch.manual_seed(0)
    env, robot = make_env("lunarlander", 4), load_policy("lunarlander/initial")
    student = make_policy(env)
    before = student.network[0].weight.clone()
    clone, steps = clone_rollouts(env, robot, student, num_episodes=3, steps=500, seed=0)
    assert clone is student
    assert steps == 500
    assert not torch.equal(before, student.network[0].weight)
    observation = torch.cat([torch.randn(200, 8) * student.normalizer.std + student.normalizer.mean])
    majority = robot.act(observation).bincount().max() / 200
    agreement = (student.act(observation) == robot.act(observation)).float().mean()
    assert agreement > majority
    assert isinstance(student, CategoricalPolicy)
