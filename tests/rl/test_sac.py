import gymnasium as gym
import numpy as np
import pytest
import torch

from mile.envs import make_env, make_policy
from mile.evaluation import evaluate_policy
from mile.ingredients.demonstrations import demonstrate
from mile.ingredients.selection import pretrain
from mile.policies import load_policy
from mile.rl import train_sac


class Reaching(gym.Env):
    """A point is moved to the origin within 20 steps; the reward is minus its distance."""

    observation_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point, self.count = self.np_random.uniform(-1, 1, 2).astype(np.float32), 0
        return self.point, {}

    def step(self, action):
        self.point, self.count = np.clip(self.point + 0.2 * action, -2, 2).astype(np.float32), self.count + 1
        distance = float(np.linalg.norm(self.point))
        return self.point, -distance, distance < 0.1, self.count == 20, {"success": distance < 0.1}


gym.register("Reaching-v0", Reaching)


def test_it_learns_to_reach_and_keeps_its_checkpoints(tmp_path):
    torch.manual_seed(0)
    env, judge = make_env("Reaching-v0", 8, seed=1), make_env("Reaching-v0", 8)
    policy = make_policy(env, hidden_dims=(64, 64), squash=True)

    def algorithm(env, policy):
        frames = {"total_frames": 1536, "frames_per_checkpoint": 768, "updates_per_frame": 1, "warmup_frames": 448}
        return train_sac(env, policy, max_reward=1.0, batch_size=128, learning_rate=1e-3, **frames)

    # learn
    before = evaluate_policy(judge, policy, 50, seed=3).success_rate
    choose = {"deterministic": False, "stop_at": None, "stop_after": None, "num_episodes": 20, "seed": 2}
    learnt, frames = pretrain(env, judge, policy, algorithm, folder=tmp_path, **choose)

    assert before < 0.4
    assert evaluate_policy(judge, learnt, 50, seed=3).success_rate > 0.9
    assert load_policy(tmp_path / "768", environment="Reaching-v0").architecture["squash"]
    assert frames in (768, 1536)


def test_half_of_a_batch_are_demonstrations():
    torch.manual_seed(0)
    env = make_env("button_press", 4)
    policy = make_policy(env, hidden_dims=(32,), squash=True)

    def show(env):
        return demonstrate(env, num_episodes=2, noise=0.1, bias=0.0, biased=(), max_steps=500, seed=1)

    # learn
    start = [weight.clone() for weight in policy.parameters()]
    options = {"max_reward": 1.0, "demonstrate": show, "warmup_frames": 64, "updates_per_frame": 1 / 16}
    frames = list(train_sac(env, policy, total_frames=512, frames_per_checkpoint=256, **options))

    assert frames == [256, 512]
    assert policy.normalizer.fitted
    assert any(not torch.equal(a, b) for a, b in zip(start, policy.parameters(), strict=True))
    assert all(weight.isfinite().all() for weight in policy.parameters())


def test_an_unbounded_policy_and_a_part_of_an_update_are_refused():
    env = make_env("CountingBox-v0")
    short = {"total_frames": 1, "frames_per_checkpoint": 1, "max_reward": 1.0}
    with pytest.raises(ValueError, match="squash=True"):
        next(train_sac(env, make_policy(env), **short))
    with pytest.raises(ValueError, match=r"a whole number from 1 on, got 0\.5"):
        next(train_sac(env, make_policy(env, squash=True), rlpd=True, updates_per_frame=0.5, **short))
