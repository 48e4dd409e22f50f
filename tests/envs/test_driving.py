import numpy as np
import pytest
import torch

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.envs.driving import MOTION, POINT_DISTANCE, POINTS, Driving, line_follower


def drive(driver, seed, **options):
    """Let a driver drive, and return the outcome of each step."""
    env, outcomes = Driving(driver=driver, **options), []
    policy, _ = env.scripted()
    picture, info = env.reset(seed=seed)
    while not outcomes or not (outcomes[-1][2] or outcomes[-1][3]):
        outcomes.append(env.step(policy(info["state"])))
        picture, info = outcomes[-1][0], outcomes[-1][-1]
        assert picture.shape == (96, 96, 3)
    return outcomes


@pytest.mark.parametrize("seed", [0, 1])
def test_a_careful_driver_arrives_and_all_of_the_way_is_rewarded(seed):
    outcomes = drive("careful", seed, tiles=40)
    *_, info = outcomes[-1]
    assert info["success"]
    assert sum(outcome[1] for outcome in outcomes) == pytest.approx(100)
    assert not any(outcome[-1]["success"] for outcome in outcomes[:-1])


def test_who_stands_still_is_out_of_time_and_who_leaves_the_track_has_failed():
    env = Driving(max_episode_steps=5)
    env.reset(seed=0)
    outcomes = [env.step(np.array([0.0, 0.0])) for _ in range(5)]
    assert [outcome[3] for outcome in outcomes] == [False] * 4 + [True]
    assert sum(outcome[1] for outcome in outcomes) == 0

    env = Driving()
    env.reset(seed=0)
    for _ in range(300):
        _, _, terminated, truncated, info = env.step(np.array([0.6, 1.0]))
        if terminated or truncated:
            break
    assert terminated
    assert not info["success"]


def test_the_state_is_the_line_as_seen_from_the_car():
    """Against the positions of the simulator's own tiles."""
    env = Driving()
    _, info = env.reset(seed=3)
    for _ in range(40):
        _, _, _, _, info = env.step(line_follower(info["state"]))
    hull, line = env.car.car.hull, np.array([tile[2:] for tile in env.car.track])
    nearest = int(np.linalg.norm(line - np.array(hull.position), axis=-1).argmin())
    points = 10 * info["state"][MOTION:].reshape(POINTS, 2)
    for number, (ahead, right) in enumerate(points):
        there = hull.GetLocalPoint(line[(nearest + 1 + POINT_DISTANCE * number) % len(line)].tolist())
        np.testing.assert_allclose([there[1], there[0]], [ahead, right], atol=1e-3)
    speed = hull.linearVelocity.length
    assert 10 * np.hypot(*info["state"][:2]) == pytest.approx(speed, rel=1e-4)


def test_an_episode_is_that_of_its_seed_and_the_human_sees_the_line():
    def still(step):
        return step.set("action", torch.zeros(*step.batch_size, 2))

    first, second = (
        collect_episodes(make_env("car_racing", copies, stack=2, max_episode_steps=4), still, 2, seed=5)
        for copies in (1, 2)
    )
    assert first["state"].shape == (8, MOTION + 2 * POINTS)
    for key in ("pixels", "state", ("next", "pixels")):
        assert torch.equal(first[key], second[key])
    assert not torch.equal(first["pixels"][0], first["pixels"][4])
