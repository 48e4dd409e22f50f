import numpy as np
import pytest

from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyError, SafetyKernel
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, READY


@pytest.mark.parametrize("rate", [5, 20])
def test_no_accepted_way_leaves_the_workspace(rate):
    limits, rng, accepted = Limits(), np.random.default_rng(0), 0
    kernel = SafetyKernel(limits, JOINT_LOW, JOINT_HIGH)
    for _ in range(300):
        start = rng.uniform(JOINT_LOW, JOINT_HIGH)
        inside = forward(start)[:3, 3]
        if not ((inside > limits.low) & (inside < limits.high)).all():
            continue

        # a way that the kernel accepts
        try:
            way = kernel.path(start, READY, 1 / rate)
        except SafetyError:
            continue
        accepted += 1

        # stays inside
        places = np.array([forward(angles)[:3, 3] for angles in way])
        assert (places > np.array(limits.low) - 2.1e-3).all()
        assert (places < np.array(limits.high) + 2.1e-3).all()
    assert accepted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step": -0.02}, "step must be above 0"),
        ({"joint_speed": 100}, "joint_speed must be above 0 and at most 3"),
        ({"low": (0.5, -0.15, 0.05)}, "must be below its high"),
        ({"low": (0.15, -0.15, 0.05)}, "would leave the workspace"),
    ],
)
def test_impossible_limits_are_refused_before_anything_moves(wrong, message):
    with pytest.raises((ValueError, SafetyError), match=message):
        WidowX("/dev/nothing", limits=Limits(**wrong))
