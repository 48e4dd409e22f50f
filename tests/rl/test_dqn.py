from functools import partial

import pytest
import torch

from mile.envs import make_env, make_policy
from mile.evaluation import evaluate_policy
from mile.ingredients.selection import pretrain
from mile.policies import describe_checkpoint
from mile.rl import train_dqn


def cart_pole(folder, stop_after=None, stop_at=None, total_frames=8_064):
    """Train on CartPole; returns the policy that was chosen and its number of frames."""
    torch.manual_seed(0)
    env = make_env("CartPole-v1", num_envs=8, seed=1)
    options = {"frames_per_checkpoint": 2_000, "learning_rate": 1e-3, "warmup_frames": 500}
    return pretrain(
        env,
        make_env("CartPole-v1", num_envs=8),
        make_policy(env, hidden_dims=(64, 64), temperature=0.1),
        partial(train_dqn, total_frames=total_frames, **options),
        folder=folder,
        deterministic=True,
        stop_at=stop_at,
        stop_after=stop_after,
        num_episodes=8,
        seed=2,
    )


def test_it_learns_to_balance_a_pole_and_keeps_the_best_checkpoint(tmp_path):
    policy, frames = cart_pole(tmp_path)
    assert 2_000 <= frames <= 8_064
    assert evaluate_policy(make_env("CartPole-v1", 8), policy, 20, seed=3).mean_return > 100  # random: 22

    scores = [describe_checkpoint(path)["evaluation"]["mean_return"] for path in tmp_path.glob("*.safetensors")]
    assert len(scores) == 4
    assert describe_checkpoint(tmp_path / f"{frames}")["evaluation"]["mean_return"] == max(scores)


def test_it_stops_early_and_repeats_itself_bit_for_bit(tmp_path):
    first, frames = cart_pole(tmp_path / "a", stop_after=2_000)
    second, _ = cart_pole(tmp_path / "b", stop_after=2_000)
    assert 2_000 <= frames < 2_064
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_unreached_level_is_named(tmp_path):
    with pytest.raises(ValueError, match="a checkpoint must reach a return of 501"):
        cart_pole(tmp_path, stop_at=501, total_frames=2_048)
