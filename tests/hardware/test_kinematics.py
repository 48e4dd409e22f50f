import numpy as np
import pytest
from scipy.linalg import expm

from mile.hardware.kinematics import HOME, SCREWS, UnreachableError, forward, inverse, jacobian, pointing_down

LOW = np.deg2rad([-180, -108, -123, -180, -100, -180])  # published
HIGH = np.deg2rad([180, 114, 92, 180, 123, 180])
SLEEP = np.array([0, -1.80, 1.55, 0, 0.8, 0])
NEUTRAL = np.array([-0.1319, -0.7624, 0.4449, -0.0199, 1.7564, -0.1595])


def test_the_published_poses():
    assert np.array_equal(forward(np.zeros(6)), HOME)
    np.testing.assert_allclose(forward(SLEEP)[:3, 3], [0.123, 0, 0.081], atol=1e-3)
    np.testing.assert_allclose(forward(NEUTRAL)[:3, 3], [0.120, -0.019, 0.247], atol=1e-3)
    assert forward(NEUTRAL)[2, 0] < -0.99  # the gripper points down


def test_the_pose_is_the_product_of_matrix_exponentials():
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles, pose = rng.uniform(LOW, HIGH), np.eye(4)
        for (x, y, z, *velocity), angle in zip(SCREWS, angles, strict=True):
            twist = np.zeros((4, 4))
            twist[:3] = [[0, -z, y, velocity[0]], [z, 0, -x, velocity[1]], [-y, x, 0, velocity[2]]]
            pose = pose @ expm(twist * angle)
        np.testing.assert_allclose(forward(angles), pose @ HOME, atol=1e-12)


def test_the_jacobian_is_the_derivative():
    rng = np.random.default_rng(1)
    angles = rng.uniform(LOW, HIGH)
    for joint, twist in enumerate(jacobian(angles).T):
        step = 1e-6 * np.eye(6)[joint]
        rate = (forward(angles + step) - forward(angles - step)) @ np.linalg.inv(forward(angles)) / 2e-6
        np.testing.assert_allclose([rate[2, 1], rate[0, 2], rate[1, 0], *rate[:3, 3]], twist, atol=1e-8)


def test_inverse_kinematics_finds_a_thousand_poses_again():
    rng = np.random.default_rng(2)
    for _ in range(1000):
        angles = rng.uniform(LOW, HIGH)
        pose = forward(angles)
        solution = inverse(pose, angles + rng.normal(0, 0.2, 6), LOW, HIGH, restarts=50)
        assert ((solution >= LOW) & (solution <= HIGH)).all()
        reached = forward(solution)
        assert np.linalg.norm(reached[:3, 3] - pose[:3, 3]) < 1e-3  # m
        assert np.arccos(np.clip((np.trace(reached[:3, :3] @ pose[:3, :3].T) - 1) / 2, -1, 1)) < 1e-3  # rad


def test_a_position_out_of_reach_is_named():
    with pytest.raises(UnreachableError, match=r"\[0.9, 0.0, 0.1\] m"):
        inverse(pointing_down(np.array([0.9, 0, 0.1])), np.zeros(6), LOW, HIGH)
