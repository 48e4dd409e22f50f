"""Keeps an arm within its limits: every motion passes through here, whoever asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mile.hardware.dynamixel import ERROR_BITS
from mile.hardware.kinematics import UnreachableError, forward, inverse, pointing_down

Array = NDArray[np.float64]
MIN_FRACTION = 0.05  # of a wish; the arm stays where a motion would have to be cut further


class SafetyError(RuntimeError):
    """A reason to hold the arm; its message names the part, and what to do."""


@dataclass(frozen=True)
class Limits:
    """Limits of an arm.

    Attributes:
        low: Lower corner of the workspace, m, in the base's frame; its z leaves room for a block that hangs 5 cm lower.
        high: Upper corner of the workspace, m, in the base's frame.
        step: Greatest displacement of a control step in each direction, m.
        joint_speed: Greatest speed of a joint, rad/s.
        temperature: Temperature of a servo at which the arm holds, °C; the servos themselves give up at 72 to 80.
        voltage: Least voltage of the supply, V.

    Raises:
        ValueError: The corners are in the wrong order, or a step or speed is out of its range.
    """

    low: tuple[float, float, float] = (0.10, -0.15, 0.055)
    high: tuple[float, float, float] = (0.45, 0.25, 0.25)
    step: float = 0.02
    joint_speed: float = 1.5
    temperature: float = 65.0
    voltage: float = 10.5

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"each of the workspace's low must be below its high, got {self.low} and {self.high}")
        for name, greatest in (("step", 0.05), ("joint_speed", 3.0)):
            value = getattr(self, name)
            if not 0 < value <= greatest:
                raise ValueError(f"{name} must be above 0 and at most {greatest}, got {value}")


class ServoState(NamedTuple):
    """A servo's report of itself.

    Attributes:
        torque: Whether its torque is on.
        error: Bits of HARDWARE_ERROR.
        watchdog: Value of BUS_WATCHDOG; −1: the watchdog has stopped the servo.
        goal: Raw position that the servo was sent to.
        position: Raw position where the servo is.
        voltage: Voltage of the supply, V.
        temperature: Temperature, °C.
    """

    torque: bool
    error: int
    watchdog: int
    goal: int
    position: int
    voltage: float
    temperature: int


@dataclass(frozen=True)
class Motion:
    """A control step's motion within the limits, and which limits cut the wish.

    Attributes:
        target: Position of the end effector at the step's end, `[3]`, m.
        angles: Angles to send to the joints, `[6]`, rad.
        clipped: Names of the limits that cut the wish; empty if none did.
    """

    target: Array
    angles: Array
    clipped: tuple[str, ...]


class SafetyKernel:
    """Turns wishes into motions within the limits.

    Args:
        limits: Limits of the arm.
        low: Least joint angles, `[6]`, rad.
        high: Greatest joint angles, `[6]`, rad.
    """

    def __init__(self, limits: Limits, low: Array, high: Array) -> None:
        self.limits, self.low, self.high = limits, low, high

    def step(self, target: Array, angles: Array, wish: Array, period: float) -> Motion:
        """Return the motion of a control step; where none is possible, the one that stays.

        Args:
            target: Target of the step before, `[3]`, m; not the measured position, which lags and sags.
            angles: Angles that were sent in the step before, `[6]`, rad.
            wish: Wished displacement, `[3]`, m.
            period: Duration of the step, s.

        Raises:
            SafetyError: The wish is not finite.
        """
        if not np.isfinite(wish).all():
            raise SafetyError(
                f"a motion must be finite, got {wish.tolist()}: the policy that asked for it has diverged"
            )

        # cut the wish to the step and to the workspace
        clipped = []
        displacement = np.clip(wish, -self.limits.step, self.limits.step)
        if (displacement != wish).any():
            clipped.append("step")
        inside = self.within(target, target + displacement)
        if not np.allclose(inside, target + displacement, atol=1e-9):
            clipped.append("workspace")

        # shorten it until the joints can follow
        max_turn, fraction = self.limits.joint_speed * period, 1.0
        while fraction > MIN_FRACTION and clipped.count("reach") < 2:
            goal = target + fraction * (inside - target)
            try:
                solution = inverse(pointing_down(goal), angles, self.low, self.high, iterations=10)
            except UnreachableError:
                clipped.append("reach")
                fraction /= 2
                continue

            excess = np.abs(solution - angles).max() / max_turn
            if excess <= 1:
                return Motion(goal, solution, tuple(dict.fromkeys(clipped)))
            clipped.append("joint speed")
            fraction /= 1.1 * excess
        return Motion(target, angles, tuple(dict.fromkeys(clipped)))

    def within(self, before: Array, wanted: Array) -> Array:
        """Return the wanted position, clipped to the workspace; from outside of it only ways back in are allowed."""
        low, high = np.minimum(self.limits.low, before), np.maximum(self.limits.high, before)
        return np.clip(wanted, low, high)

    def path(self, start: Array, end: Array, period: float, slowness: float = 4.0) -> list[Array]:
        """Return joint angles for each control step of a slow move between two poses of the joints.

        Raises:
            SafetyError: On its way the end effector would leave the workspace, or a joint its limits.
        """
        # a way that begins and ends gently
        steps = max(1, int(np.ceil(np.abs(end - start).max() * slowness / (self.limits.joint_speed * period))))
        fractions = np.linspace(0, 1, steps + 1)[1:]
        way = [start + (end - start) * (1 - np.cos(np.pi * fraction)) / 2 for fraction in fractions]

        # check each of its poses
        before = forward(start)[:3, 3]
        for angles in way:
            position = forward(angles)[:3, 3]
            if not np.allclose(self.within(before, position), position, atol=2e-3):
                raise SafetyError(
                    f"the way would leave the workspace at {np.round(position, 3).tolist()} m; move the arm by hand to "
                    "above the middle of the table, and start again"
                )
            if (angles < self.low - 1e-6).any() or (angles > self.high + 1e-6).any():
                raise SafetyError("the way would leave the joints' limits; move the arm by hand, and start again")
            before = self.within(before, position)  # not the position itself: the tolerance would add up
        return way

    def check(self, names: Mapping[int, str], states: Mapping[int, ServoState]) -> None:
        """Check the servos' reports of errors, temperature and voltage.

        Args:
            names: Names of the servos, by id.
            states: Reports of the servos, by id.

        Raises:
            SafetyError: A servo reports an error, is too hot, or gets too low a voltage.
        """
        for servo, state in states.items():
            if state.error:
                errors = ", ".join(name for bit, name in ERROR_BITS.items() if state.error >> bit & 1)
                raise SafetyError(
                    f"servo {servo} ({names[servo]}) reports {errors or f'error {state.error}'}; let it cool, free it, "
                    "then mile-doctor"
                )

            temperature, voltage = state.temperature, state.voltage
            if temperature >= self.limits.temperature:
                raise SafetyError(
                    f"servo {servo} ({names[servo]}) has {temperature} °C, at most {self.limits.temperature:.0f} are "
                    "allowed; switch the arm off and let it cool"
                )
            if voltage < self.limits.voltage:
                raise SafetyError(
                    f"servo {servo} ({names[servo]}) gets {voltage:.1f} V, at least {self.limits.voltage} are needed; "
                    "check the supply"
                )
