"""Where the hand of a WidowX 250 (6 DoF) is, and how the joints get it elsewhere: products of exponentials.

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
SCREWS = np.array(  # of the joints at zero angles: axis, and velocity of the base's origin
    [
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, -0.11065, 0, 0],
        [0, 1, 0, -0.36065, 0, 0.04975],
        [1, 0, 0, 0, 0.36065, 0],
        [0, 1, 0, -0.36065, 0, 0.29975],
        [1, 0, 0, 0, 0.36065, 0],
    ]
)
DAMPING = 0.02  # of the least squares: bounds the joints' steps near a singular pose
ITERATIONS = 100  # after which a start is given up
LONGEST = 0.5  # rad, of one iteration's step
NEAR = 1e-5  # error at which a solution counts: m, and rad
DOWN = Rotation.from_euler("y", 90, degrees=True).as_matrix()  # the gripper points to the table


class UnreachableError(ValueError):
    """No joint angles within their limits bring the end effector there."""


def forward(angles: Array) -> Array:
    """Return the pose at joint angles `[6]`."""
    pose = np.eye(4)
    for screw, angle in zip(SCREWS, angles, strict=True):
        pose = pose @ _exponential(screw, angle)
    return pose @ HOME


def jacobian(angles: Array) -> Array:
    """Return the space Jacobian `[6, 6]` at joint angles `[6]`: from joint velocities to the twist (ω, v)."""
    columns, pose = [], np.eye(4)
    for screw, angle in zip(SCREWS, angles, strict=True):
        columns.append(_adjoint(pose) @ screw)
        pose = pose @ _exponential(screw, angle)
    return np.stack(columns, 1)


def inverse(pose: Array, start: Array, low: Array, high: Array, restarts: int = 0) -> Array:
    """Return joint angles `[6]` within their limits that bring the end effector to a pose, by damped least squares.

    Args:
        pose: `[4, 4]`.
        start: angles to begin at, such as those now; the solution is the one that is found from there.
        low: least angles, `[6]`.
        high: greatest angles, `[6]`.
        restarts: from how many other angles it is tried then; for an arm that moves, none: it would jump.

    Raises:
        UnreachableError: none are found.
    """
    for begin in (start, *np.random.default_rng(0).uniform(low, high, (restarts, 6))):
        angles = np.clip(begin, low, high)
        for _ in range(ITERATIONS):
            error = _difference(pose, forward(angles))
            if np.abs(error).max() < NEAR:
                return angles
            slope = jacobian(angles)
            damping = min(DAMPING, float(np.linalg.norm(error)))  # none at the end, which is then quadratic
            step = slope.T @ np.linalg.solve(slope @ slope.T + damping**2 * np.eye(6), error)
            step *= min(1.0, LONGEST / max(np.abs(step).max(), 1e-12))
            angles = np.clip(angles + step, low, high)
    raise UnreachableError(f"no joint angles bring the hand to {np.round(pose[:3, 3], 3).tolist()} m")


def pointing_down(position: Array) -> Array:
    """Return the pose at a position `[3]` with the gripper pointing to the table."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = DOWN, position
    return pose


def _difference(pose: Array, other: Array) -> Array:
    """Return the twist (ω, v) that takes `other` to `pose` in unit time, to first order in v, about the base's origin."""
    turn = Rotation.from_matrix(pose[:3, :3] @ other[:3, :3].T).as_rotvec()
    return np.concatenate([turn, pose[:3, 3] - other[:3, 3] - np.cross(turn, other[:3, 3])])


def _exponential(screw: Array, angle: float) -> Array:
    """Return the transform of a turn about a screw whose axis has unit length."""
    turn = _skew(screw[:3])
    square = turn @ turn
    sine, versine = np.sin(angle), 1 - np.cos(angle)
    made = np.eye(4)
    made[:3, :3] += sine * turn + versine * square
    made[:3, 3] = (angle * np.eye(3) + versine * turn + (angle - sine) * square) @ screw[3:]
    return made


def _adjoint(pose: Array) -> Array:
    made = np.zeros((6, 6))
    made[:3, :3] = made[3:, 3:] = pose[:3, :3]
    made[3:, :3] = _skew(pose[:3, 3]) @ pose[:3, :3]
    return made


def _skew(vector: Array) -> Array:
    x, y, z = vector
    return np.array([[0.0, -z, y], [z, 0, -x], [-y, x, 0]])
