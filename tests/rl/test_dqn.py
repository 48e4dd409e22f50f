import torch

from mile.envs import make_env, make_policy
from mile.evaluation import evaluate_policy
from mile.rl import pretrain_dqn


def cart_pole(stop_after=None):
    torch.manual_seed(0)
    env = make_env("CartPole-v1", num_envs=8, seed=1)
    policy = make_policy(env, hidden_dims=(64, 64), temperature=0.1)
    return pretrain_dqn(
        env,
        make_env("CartPole-v1", num_envs=8),
        policy,
        deterministic=True,
        stop_after=stop_after,
        num_episodes=8,
        seed=2,
        total_frames=15_040,
        frames_per_checkpoint=2_000,
        learning_rate=1e-3,
        warmup_frames=500,
    )


def test_it_learns_to_balance_a_pole_and_keeps_the_best_checkpoint():
    policy, frames = cart_pole()
    assert 2_000 <= frames <= 15_040
    assert evaluate_policy(make_env("CartPole-v1", 8), policy, 20, seed=3).mean_return > 100  # random: 22


def test_it_stops_early_and_repeats_itself_bit_for_bit():
    (first, frames), (second, _) = cart_pole(stop_after=2_000), cart_pole(stop_after=2_000)
    assert 2_000 <= frames < 2_064
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
