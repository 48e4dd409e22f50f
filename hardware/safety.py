"""What an arm may do: every motion passes through here, whoever asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mile.hardware.dynamixel import ERRORS
from mile.hardware.kinematics import UnreachableError, forward, inverse, pointing_down

Array = NDArray[np.float64]
LEAST = 0.05  # of a wish; what would have to be cut further is not done


class SafetyError(RuntimeError):
    """A reason to hold the arm; it says which part, and what to do."""


@dataclass(frozen=True)
class Limits:
    """What an arm may do.

    Attributes:
        low: corner of the workspace, m, in the base's frame; its z leaves room for a block that hangs 5 cm lower.
        high: the other corner.
        step: of a control step in each direction, m.
        joint_speed: rad/s.
        temperature: of a servo, °C, at which the arm holds; the servos themselves give up at 72 to 80.
        voltage: least one of the supply, V.
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
        for name, most in (("step", 0.05), ("joint_speed", 3.0)):
            if not 0 < getattr(self, name) <= most:
                raise ValueError(f"{name} must be above 0 and at most {most}, got {getattr(self, name)}")


class ServoState(NamedTuple):
    """What a servo reports.

    Attributes:
        torque: whether it holds.
        error: bits of HARDWARE_ERROR.
        watchdog: BUS_WATCHDOG; −1: it has stopped the servo.
        goal: raw position that it was sent to.
        position: raw position.
        voltage: of the supply, V.
        temperature: °C.
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
    """What is sent to the joints for a control step, and what of the wish was cut.

    Attributes:
        target: of the end effector, `[3]`, m.
        angles: `[6]`, rad.
        clipped: by which limits, in words; empty if by none.
    """

    target: Array
    angles: Array
    clipped: tuple[str, ...]


class SafetyKernel:
    """Turns wishes into motions within the limits.

    Args:
        limits: of the arm.
        low: least joint angles, `[6]`, rad.
        high: greatest joint angles, `[6]`, rad.
    """

    def __init__(self, limits: Limits, low: Array, high: Array) -> None:
        self.limits, self.low, self.high = limits, low, high

    def step(self, target: Array, angles: Array, wish: Array, period: float) -> Motion:
        """Return the motion of a control step; where none is possible, the one that stays.

        Args:
            target: of the step before, `[3]`, m; not the measured position, which lags and sags.
            angles: sent in the step before, `[6]`, rad.
            wish: displacement, `[3]`, m.
            period: of the step, s.

        Raises:
            SafetyError: the wish is not finite.
        """
        if not np.isfinite(wish).all():
            raise SafetyError(
                f"a motion must be finite, got {wish.tolist()}: the policy that asked for it has diverged"
            )
        clipped = []
        short = np.clip(wish, -self.limits.step, self.limits.step)
        if (short != wish).any():
            clipped.append("step")
        inside = self.within(target, target + short)
        if not np.allclose(inside, target + short, atol=1e-9):
            clipped.append("workspace")
        fastest, part = self.limits.joint_speed * period, 1.0
        while part > LEAST and clipped.count("reach") < 2:
            goal = target + part * (inside - target)
            try:
                found = inverse(pointing_down(goal), angles, self.low, self.high, iterations=10)
            except UnreachableError:
                clipped.append("reach")
                part /= 2
                continue
            excess = np.abs(found - angles).max() / fastest
            if excess <= 1:
                return Motion(goal, found, tuple(dict.fromkeys(clipped)))
            clipped.append("joint speed")
            part /= 1.1 * excess
        return Motion(target, angles, tuple(dict.fromkeys(clipped)))

    def within(self, before: Array, wanted: Array) -> Array:
        """Return the wanted position within the workspace; from outside of it only ways that lead back are left."""
        low, high = np.minimum(self.limits.low, before), np.maximum(self.limits.high, before)
        return np.clip(wanted, low, high)

    def path(self, start: Array, end: Array, period: float, slowness: float = 4.0) -> list[Array]:
        """Return joint angles for each control step of a slow move between two poses of the joints.

        Raises:
            SafetyError: on its way the end effector would leave the workspace, or a joint its limits.
        """
        steps = max(1, int(np.ceil(np.abs(end - start).max() * slowness / (self.limits.joint_speed * period))))
        way = [start + (end - start) * (1 - np.cos(np.pi * part)) / 2 for part in np.linspace(0, 1, steps + 1)[1:]]
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
        """Check what the servos report.

        Args:
            names: by id.
            states: by id.

        Raises:
            SafetyError: one of them is in trouble.
        """
        for servo, state in states.items():
            if bits := state.error:
                why = ", ".join(name for bit, name in ERRORS.items() if bits >> bit & 1) or f"error {bits}"
                raise SafetyError(
                    f"servo {servo} ({names[servo]}) reports {why}; let it cool, free it, then mile-doctor"
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
