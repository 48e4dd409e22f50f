"""Forward and inverse kinematics of a WidowX 250 (6 DoF), as products of exponentials.

Lengths are metres and angles radians, in the base's frame: x forward, y left, z up. A pose is a `[4, 4]` homogeneous
transform of the end effector, whose own x axis points out of the gripper.

Source: Lynch and Park, "Modern Robotics", chapters 3 to 6; Trossen's tables of the arm.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
HOME = np.array([[1.0, 0, 0, 0.458325], [0, 1, 0, 0], [0, 0, 1, 0.36065], [0, 0, 0, 1]])  # pose at zero angles
SCREWS = np.array(  # of the joints at zero angles: axis ω, and velocity of the base's origin v
    [
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, -0.11065, 0, 0],
        [0, 1, 0, -0.36065, 0, 0.04975],
        [1, 0, 0, 0, 0.36065, 0],
        [0, 1, 0, -0.36065, 0, 0.29975],
        [1, 0, 0, 0, 0.36065, 0],
    ]
)
CROSS = np.cross(SCREWS[:, None, :3], np.eye(3)).transpose(0, 2, 1)  # ω× of each joint, [6, 3, 3]
CROSS_SQUARED = CROSS @ CROSS

DAMPING = 0.02  # of the least squares; bounds the joints' steps near a singular pose
MAX_ITERATION_STEP = 0.5  # rad, of a joint in one iteration
TOLERANCE = 1e-5  # error at which a solution counts: m, and rad
POINTING_DOWN = Rotation.from_euler("y", 90, degrees=True).as_matrix()  # the gripper points to the table


class UnreachableError(ValueError):
    """No joint angles within the limits bring the end effector to the pose."""


def forward(angles: Array) -> Array:
    """Return the pose at joint angles `[6]`."""
    return _chain(angles)[-1] @ HOME


def jacobian(angles: Array) -> Array:
    """Return the space Jacobian `[6, 6]` at joint angles `[6]`: from joint velocities to the twist (ω, v)."""
    return _jacobian(_chain(angles))


def inverse(pose: Array, start: Array, low: Array, high: Array, iterations: int = 100, restarts: int = 0) -> Array:
    """Return joint angles `[6]` within their limits that bring the end effector to a pose, by damped least squares.

    Args:
        pose: Pose of the end effector, `[4, 4]`.
        start: Angles to begin at, `[6]`, such as the present ones; the solution is the one that is found from there.
        low: Least angles, `[6]`.
        high: Greatest angles, `[6]`.
        iterations: Number of iterations before giving up; for a small step from `start` ten are enough.
        restarts: Number of random angles to begin at after that; 0 for an arm that moves, because it would jump.

    Raises:
        UnreachableError: No angles are found.
    """
    others = np.random.default_rng(0).uniform(low, high, (restarts, 6))
    for begin in (start, *others):
        angles = np.clip(begin, low, high)
        for _ in range(iterations):
            chain = _chain(angles)
            error = _difference(pose, chain[-1] @ HOME)  # [6]
            if np.abs(error).max() < TOLERANCE:
                return angles

            # one step of damped least squares
            slope = _jacobian(chain)
            damping = min(DAMPING, float(np.linalg.norm(error)))  # none at the end, where convergence is quadratic
            step = slope.T @ np.linalg.solve(slope @ slope.T + damping**2 * np.eye(6), error)
            step *= min(1.0, MAX_ITERATION_STEP / max(np.abs(step).max(), 1e-12))
            angles = np.clip(angles + step, low, high)
    raise UnreachableError(f"no joint angles bring the hand to {np.round(pose[:3, 3], 3).tolist()} m")


def pointing_down(position: Array) -> Array:
    """Return the pose at a position `[3]` with the gripper pointing to the table."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = POINTING_DOWN, position
    return pose


def _difference(pose: Array, other: Array) -> Array:
    """Return the twist (ω, v) that takes `other` to `pose` in unit time, to first order in v."""
    turn = Rotation.from_matrix(pose[:3, :3] @ other[:3, :3].T).as_rotvec()
    return np.concatenate([turn, pose[:3, 3] - other[:3, 3] - np.cross(turn, other[:3, 3])])


def _chain(angles: Array) -> Array:
    """Return the products of the joints' transforms, `[7, 4, 4]`: of none, of the first, …, of all six."""
    sine, versine = np.sin(angles)[:, None, None], 1 - np.cos(angles)[:, None, None]
    angle = np.asarray(angles)[:, None, None]

    # the transform of each joint (Rodrigues' formula)
    transforms = np.zeros((6, 4, 4))
    transforms[:, :3, :3] = np.eye(3) + sine * CROSS + versine * CROSS_SQUARED
    drift = angle * np.eye(3) + versine * CROSS + (angle - sine) * CROSS_SQUARED
    transforms[:, :3, 3] = np.einsum("jab,jb->ja", drift, SCREWS[:, 3:])
    transforms[:, 3, 3] = 1

    # their products
    chain = np.empty((7, 4, 4))
    chain[0] = np.eye(4)
    for joint in range(6):
        chain[joint + 1] = chain[joint] @ transforms[joint]
    return chain


def _jacobian(chain: Array) -> Array:
    rotation, position = chain[:6, :3, :3], chain[:6, :3, 3]
    axes = np.einsum("jab,jb->ja", rotation, SCREWS[:, :3])
    velocities = np.einsum("jab,jb->ja", rotation, SCREWS[:, 3:])
    return np.concatenate([axes, velocities + np.cross(position, axes)], 1).T
