import numpy as np
import pytest
import torch

from mile.envs import make_env, make_policy
from mile.envs.two_ways import RADIUS, RISE, STRIDE, TwoWays
from mile.evaluation import evaluate_policy
from mile.ingredients.cloning import clone_policy
from mile.ingredients.demonstrations import demonstrate


def episode(env, seed, action=None):
    """Let the guide go, or always do the same, and return all places and the last report."""
    guide, _ = env.scripted()
    place, report = env.reset(seed=seed)
    places, ended = [place], False
    while not ended:
        place, _, terminated, truncated, report = env.step(guide(report["state"]) if action is None else action)
        places.append(place)
        ended = terminated or truncated
    return np.array(places), report


def test_the_guide_passes_on_both_sides_whatever_the_first_place_is():
    sides = {}
    for seed in range(100):
        places, report = episode(TwoWays(), seed)
        assert report["success"]
        sides.setdefault(bool(places[0, 0] > 0), set()).add(float(np.sign(places[2, 0])))
    assert sides == {True: {-1.0, 1.0}, False: {-1.0, 1.0}}


def test_who_does_not_see_the_obstacle_runs_into_it():
    for seed in range(50):
        places, report = episode(TwoWays(guide="blind"), seed)
        assert not report["success"]
        assert len(places) < 5


def test_a_step_through_the_obstacle_hits_it_though_it_ends_behind():
    """The distance of a segment from the origin, against many points on it."""
    rng = np.random.default_rng(0)
    for seed in range(200):
        env = TwoWays(reach=0.5)
        before, _ = env.reset(seed=seed)
        action = rng.uniform(-1, 1, 1)
        place, _, terminated, _, report = env.step(action)
        way = np.array([STRIDE * action[0], RISE])
        line = before + np.linspace(0, 1, 2001)[:, None] * way
        nearest = np.linalg.norm(line, axis=-1).min()
        if abs(nearest - RADIUS) > 1e-3:
            assert terminated == (nearest < RADIUS)
        assert not report["success"]
        assert place == pytest.approx(before + way, abs=1e-6)


def test_walls_hold_and_time_ends():
    places, report = episode(TwoWays(), 0, np.ones(1))
    assert report["success"]
    assert places[:, 0].max() == 1.5
    assert len(episode(TwoWays(max_episode_steps=2), 0, np.ones(1))[0]) == 3
    assert TwoWays(render_mode="rgb_array").render().shape == (128, 128, 3)


def test_a_clone_with_one_mode_hits_and_one_with_two_passes():
    env = make_env("two_ways", 16)
    steps = demonstrate(env, num_episodes=60, noise=0.1, bias=0.0, biased=[], max_steps=20, seed=0)
    success = {}
    for head in ("gaussian", "mixture"):
        torch.manual_seed(0)
        policy = make_policy(env, head=head, hidden_dims=(64, 64))
        clone_policy(policy, steps, steps["human_action"], steps=2000)
        success[head] = evaluate_policy(env, policy, 40, 2000000, True).success_rate
    assert success["gaussian"] < 0.7
    assert success["mixture"] > 0.9
