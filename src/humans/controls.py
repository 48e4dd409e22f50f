"""Actions from controls: the meaning of keys, buttons, sticks and tracked hands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

TAKE_OVER = ("Space", "Pad5")  # the key and the button (R1) that take control, with or without a movement
DEAD_ZONE = 0.15  # deflection of a stick that counts as rest; full deflection is 1


class Controls(NamedTuple):
    """The state of an input device.

    Attributes:
        pressed: Keys that are down, named as in browsers (`KeyboardEvent.code`), and buttons of a gamepad, numbered as
            in the W3C's standard gamepad: "Pad0" (cross), "Pad1", …
        axes: Axes of a gamepad's sticks, in [−1, 1]: left x, left y, right x, right y; right and down are positive.
        hand: Position of a tracked hand, `[3]`, m, with the robot's axes and an origin of its own; None: no hand is
            tracked, or its clutch is open.
        clutch: Number of times that the clutch has closed.
    """

    pressed: frozenset[str] = frozenset()
    axes: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    hand: tuple[float, float, float] | None = None
    clutch: int = 0

    def held(self, names: Sequence[str]) -> bool:
        """Return whether at least one of these keys and buttons is down."""
        return not self.pressed.isdisjoint(names)

    def axis(self, number: int) -> float:
        """Return the deflection of an axis beyond its dead zone, in [−1, 1]; 0 if there is no such axis."""
        value = self.axes[number] if number < len(self.axes) else 0.0
        beyond = max(0.0, abs(value) - DEAD_ZONE) / (1 - DEAD_ZONE)
        return min(beyond, 1.0) * (1 if value > 0 else -1)


class InputDevice(Protocol):
    """A device that a person acts with, besides the keyboard."""

    @property
    def name(self) -> str:
        """Name that the device reports."""
        ...

    def read(self) -> Controls | None:
        """Return the present state, without waiting; None while the device is not connected."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...


class Keymap(Protocol):
    """Turns controls into actions.

    Attributes:
        legend: Controls and their meanings, in words.
        buttons: Keys and labels of the buttons on a touch screen.
        words: Key that each word of a person stands for.
    """

    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]
    words: Mapping[str, str]

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest, in [0, 1]."""
        ...

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return the action, `[]` (int64) or `[action_dim]`.

        Args:
            controls: Present state of the controls.
            last: Action that was executed in the step before; None in an episode's first step.
        """
        ...


@dataclass
class DiscreteKeymap:
    """One key, button or direction of the left stick for each of some discrete actions.

    Args:
        keys: Keys and buttons of each action.
        sticks: Axis and direction (−1 or 1) of each action.
        idle: Action while nothing is pressed.
        legend: Controls and their meanings, in words.
        buttons: Keys and labels of the buttons on a touch screen.
        words: Key that each word of a person stands for.
    """

    keys: Mapping[int, Sequence[str]]
    sticks: Mapping[int, tuple[int, int]]
    idle: int
    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]
    words: Mapping[str, str] = field(default_factory=dict)

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest; see `Keymap`."""
        if any(controls.held(keys) for keys in self.keys.values()):
            return 1.0
        return max((controls.axis(axis) * direction for axis, direction in self.sticks.values()), default=0.0)

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return the first action whose key is down, or that the stick points to most; see `Keymap`."""
        # keys and buttons
        for action, keys in self.keys.items():
            if controls.held(keys):
                return torch.tensor(action)

        # the stick
        best, farthest = self.idle, 0.0
        for action, (axis, direction) in self.sticks.items():
            deflection = controls.axis(axis) * direction
            if deflection > farthest:
                best, farthest = action, deflection
        return torch.tensor(best)


@dataclass(kw_only=True)
class DirectKeymap:
    """Actions in [−1, 1], each part by one pair of keys and one axis.

    Args:
        keys: Pairs of keys: those for the negative and those for the positive direction.
        axes: Axes, and their signs.
        legend: Controls and their meanings, in words.
        buttons: Keys and labels of the buttons on a touch screen.
        speed: Size of the action while a key is down, in (0, 1].
        words: Key that each word of a person stands for.
    """

    keys: Sequence[tuple[Sequence[str], Sequence[str]]]
    axes: Sequence[tuple[int, int]]
    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]
    speed: float = 1.0
    words: Mapping[str, str] = field(default_factory=dict)

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest; see `Keymap`."""
        return max(abs(value) for value in self._motion(controls))

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return the parts of the action; see `Keymap`."""
        return torch.tensor(self._motion(controls))

    def _motion(self, controls: Controls) -> list[float]:
        """Return each part by its keys, or by its axis while no key is down."""
        motion = []
        for (backward, forward), (axis, sign) in zip(self.keys, self.axes, strict=True):
            by_keys = (controls.held(forward) - controls.held(backward)) * self.speed
            motion.append(by_keys or controls.axis(axis) * sign)
        return motion


@dataclass(kw_only=True)
class CartesianKeymap(DirectKeymap):
    """Actions (dx, dy, dz, gripper) in [−1, 1], by one pair of keys and one axis for each direction.

    The gripper keeps its last state until a key closes or opens it.

    A tracked hand, if there is one, leads the robot: from where both were when the clutch closed, the robot moves by as
    much as the hand. Its own position is summed up from the executed actions, so that it neither jumps nor stays behind
    for good where it is slower than the hand.

    Args:
        keys: Pairs of keys for dx, dy and dz; these and the other arguments of `DirectKeymap` are for motion.
        close: Keys that close the gripper.
        open: Keys that open the gripper.
        gripper: Gripper at an episode's start, 1 closed and −1 open.
        reach: Distance that an action of 1 moves the robot, m.
    """

    close: Sequence[str]
    open: Sequence[str]
    gripper: float = -1.0
    reach: float = 0.01
    _robot: Tensor | None = field(default=None, init=False)  # position, m, in the hand's coordinates
    _clutch: int = field(default=-1, init=False)

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest; see `Keymap`."""
        if controls.hand is not None:
            return 1.0
        return max(float(controls.held([*self.close, *self.open])), super().deflection(controls))

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return motion and gripper; see `Keymap`."""
        # gripper
        if controls.held(self.close):
            gripper = 1.0
        elif controls.held(self.open):
            gripper = -1.0
        else:
            gripper = self.gripper if last is None else float(last[3])

        # motion by keys or sticks
        if controls.hand is None:
            self._robot = None
            return torch.tensor([*self._motion(controls), gripper])

        # motion by a tracked hand: towards where the hand is
        hand = torch.tensor(controls.hand)
        if self._robot is None or last is None or controls.clutch != self._clutch:
            self._robot, self._clutch = hand, controls.clutch
        else:
            self._robot = self._robot + self.reach * last[:3]
        motion = ((hand - self._robot) / self.reach).clamp(-1, 1)
        return torch.cat([motion, torch.tensor([gripper])])
