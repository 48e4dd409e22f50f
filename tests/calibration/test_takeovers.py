"""Costs of humans in time, from how often they take over and for how long."""

from functools import partial

import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.calibration import calibrate_takeovers
from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import SimulatedHuman
from mile.timing import Accumulating, Believing, Delayed, Sticky

TIMINGS = {
    "sticky": Sticky,
    "delayed": partial(Delayed, median_delay=2, longest_delay=5),
    "accumulating": partial(Accumulating, leak=0.3),
    "believing": Believing,
}


def policies(env):
    """Return a robot, an expert and a mental model: small random networks that spread their actions."""
    torch.manual_seed(3)
    made = []
    for _ in range(3):
        policy = make_policy(env, hidden_dims=(8,))
        policy.normalizer.fit(10 * torch.randn(100, 2))
        made.append(policy)
    return made


@pytest.mark.parametrize(
    ("name", "timing"),
    [
        ("Counting-v0", "sticky"),
        ("CountingBox-v0", "delayed"),
        ("Counting-v0", "accumulating"),
        ("CountingBox-v0", "believing"),
    ],
)
def test_takeovers_begin_as_often_and_last_as_long_as_they_should(name, timing):
    env = make_env(name, num_envs=32)
    robot, expert, mental_model = policies(env)
    calibration = calibrate_takeovers(
        env,
        robot,
        expert,
        mental_model,
        timing=TIMINGS[timing],
        onset_rate=0.1,
        mean_length=4,
        relative_scale=1.0,
        num_episodes=100,
        refuse=False,
    )
    model = TIMINGS[timing](release_cost=calibration.release_cost)
    human = SimulatedHuman(expert, mental_model, calibration.cost, calibration.scale, timing=model)
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(human)), robot, 300, seed=1)

    # other episodes, counted by hand
    onsets = stays = watching = controlling = 0
    for episode in steps["episode"].unique():
        before = False
        for intervened in steps["intervened"][steps["episode"] == episode].tolist():
            watching, onsets = watching + (not before), onsets + (intervened and not before)
            controlling, stays = controlling + before, stays + (intervened and before)
            before = intervened
    assert onsets / watching == pytest.approx(0.1, rel=0.3)
    assert 1 / (1 - stays / controlling) == pytest.approx(4, rel=0.3)


def test_rates_and_lengths_out_of_range_are_refused():
    env = make_env("Counting-v0")
    for wrong in ({"onset_rate": 0.0}, {"onset_rate": 1.5}, {"mean_length": 1.0}):
        with pytest.raises(ValueError, match="onset_rate must lie in"):
            calibrate_takeovers(env, *policies(env), timing=Sticky, **wrong)
