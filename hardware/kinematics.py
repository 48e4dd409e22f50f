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
TURNS = np.cross(SCREWS[:, None, :3], np.eye(3)).transpose(0, 2, 1)  # ω× of each joint
SQUARES = TURNS @ TURNS
DAMPING = 0.02  # of the least squares: bounds the joints' steps near a singular pose
LONGEST = 0.5  # rad, of one iteration's step
NEAR = 1e-5  # error at which a solution counts: m, and rad
DOWN = Rotation.from_euler("y", 90, degrees=True).as_matrix()  # the gripper points to the table


class UnreachableError(ValueError):
    """No joint angles within their limits bring the end effector there."""


def forward(angles: Array) -> Array:
    """Return the pose at joint angles `[6]`."""
    return _chain(angles)[-1] @ HOME


def jacobian(angles: Array) -> Array:
    """Return the space Jacobian `[6, 6]` at joint angles `[6]`: from joint velocities to the twist (ω, v)."""
    return _jacobian(_chain(angles))


def inverse(pose: Array, start: Array, low: Array, high: Array, iterations: int = 100, restarts: int = 0) -> Array:
    """Return joint angles `[6]` within their limits that bring the end effector to a pose, by damped least squares.

    Args:
        pose: `[4, 4]`.
        start: angles to begin at, such as those now; the solution is the one that is found from there.
        low: least angles, `[6]`.
        high: greatest angles, `[6]`.
        iterations: after which it is given up; for a small step from `start` ten are enough.
        restarts: from how many other angles it is tried then; for an arm that moves, none: it would jump.

    Raises:
        UnreachableError: none are found.
    """
    for begin in (start, *np.random.default_rng(0).uniform(low, high, (restarts, 6))):
        angles = np.clip(begin, low, high)
        for _ in range(iterations):
            chain = _chain(angles)
            error = _difference(pose, chain[-1] @ HOME)
            if np.abs(error).max() < NEAR:
                return angles
            slope = _jacobian(chain)
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
    """Return the twist (ω, v) that takes `other` to `pose` in unit time, to first order in v."""
    turn = Rotation.from_matrix(pose[:3, :3] @ other[:3, :3].T).as_rotvec()
    return np.concatenate([turn, pose[:3, 3] - other[:3, 3] - np.cross(turn, other[:3, 3])])


def _chain(angles: Array) -> Array:
    """Return the transforms `[7, 4, 4]` that the joints before the first, …, and after the last one add up to."""
    sine, versine = np.sin(angles)[:, None, None], 1 - np.cos(angles)[:, None, None]
    straight = np.asarray(angles)[:, None, None]
    turns = np.zeros((6, 4, 4))
    turns[:, :3, :3] = np.eye(3) + sine * TURNS + versine * SQUARES
    drift = straight * np.eye(3) + versine * TURNS + (straight - sine) * SQUARES
    turns[:, :3, 3] = np.einsum("jab,jb->ja", drift, SCREWS[:, 3:])
    turns[:, 3, 3] = 1
    chain = np.empty((7, 4, 4))
    chain[0] = np.eye(4)
    for joint in range(6):
        chain[joint + 1] = chain[joint] @ turns[joint]
    return chain


def _jacobian(chain: Array) -> Array:
    rotation, place = chain[:6, :3, :3], chain[:6, :3, 3]
    axes, velocities = (np.einsum("jab,jb->ja", rotation, part) for part in (SCREWS[:, :3], SCREWS[:, 3:]))
    return np.concatenate([axes, velocities + np.cross(place, axes)], 1).T
