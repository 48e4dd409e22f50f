"""Actions from controls: the meaning of keys, buttons, sticks and tracked hands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torchrl.data import Bounded, Categorical, TensorSpec

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
    """

    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]

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
    """

    keys: Mapping[int, Sequence[str]]
    sticks: Mapping[int, tuple[int, int]]
    idle: int
    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]

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


@dataclass
class CartesianKeymap:
    """Actions (dx, dy, dz, gripper) in [−1, 1], by one pair of keys and one axis for each direction.

    The gripper keeps its last state until a key closes or opens it.

    A tracked hand, if there is one, leads the robot: from where both were when the clutch closed, the robot moves by as
    much as the hand. Its own position is summed up from the executed actions, so that it neither jumps nor stays behind
    for good where it is slower than the hand.

    Args:
        keys: Pairs of keys for dx, dy and dz: those for the negative and those for the positive direction.
        axes: Axes for dx, dy and dz, and their signs.
        close: Keys that close the gripper.
        open: Keys that open the gripper.
        legend: Controls and their meanings, in words.
        buttons: Keys and labels of the buttons on a touch screen.
        speed: Size of the action while a key is down, in (0, 1].
        gripper: Gripper at an episode's start, 1 closed and −1 open.
        reach: Distance that an action of 1 moves the robot, m.
    """

    keys: Sequence[tuple[Sequence[str], Sequence[str]]]
    axes: Sequence[tuple[int, int]]
    close: Sequence[str]
    open: Sequence[str]
    legend: Sequence[tuple[str, str]]
    buttons: Sequence[tuple[str, str]]
    speed: float = 1.0
    gripper: float = -1.0
    reach: float = 0.01
    _robot: Tensor | None = field(default=None, init=False)  # position, m, in the hand's coordinates
    _clutch: int = field(default=-1, init=False)

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest; see `Keymap`."""
        if controls.hand is not None:
            return 1.0
        gripper = controls.held([*self.close, *self.open])
        return max(float(gripper), *(abs(value) for value in self._motion(controls)))

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

    def _motion(self, controls: Controls) -> list[float]:
        """Return dx, dy and dz, each by its keys, or by its axis while no key is down."""
        motion = []
        for (backward, forward), (axis, sign) in zip(self.keys, self.axes, strict=True):
            by_keys = (controls.held(forward) - controls.held(backward)) * self.speed
            motion.append(by_keys or controls.axis(axis) * sign)
        return motion


LANDER = DiscreteKeymap(
    keys={
        2: ("ArrowUp", "KeyW", "Pad12"),
        1: ("ArrowLeft", "KeyA", "Pad14"),
        3: ("ArrowRight", "KeyD", "Pad15"),
        0: ("ArrowDown", "KeyS", "Pad13"),
    },
    sticks={2: (1, -1), 1: (0, -1), 3: (0, 1), 0: (1, 1)},
    idle=0,
    legend=[
        ("↑ or W", "main engine"),
        ("← or A", "left engine"),
        ("→ or D", "right engine"),
        ("↓, S or space", "coast"),
        ("gamepad", "left stick or direction pad"),
    ],
    buttons=[("ArrowLeft", "←"), ("ArrowUp", "↑"), ("ArrowRight", "→"), ("Space", "coast")],
)
ARM = CartesianKeymap(
    keys=[
        (("ArrowLeft", "KeyA"), ("ArrowRight", "KeyD")),
        (("ArrowDown", "KeyS"), ("ArrowUp", "KeyW")),
        (("KeyQ",), ("KeyE",)),
    ],
    axes=[(0, 1), (1, -1), (3, -1)],
    close=("KeyC", "Pad0"),
    open=("KeyV", "Pad1"),
    legend=[
        ("← → or A D", "hand left, right"),
        ("↑ ↓ or W S", "hand away, towards"),
        ("E Q", "hand up, down"),
        ("C V", "gripper closes, opens"),
        ("space", "hold still"),
        ("gamepad", "left stick: away and sideways; right stick: up and down; ✕ closes, ○ opens"),
    ],
    buttons=[
        ("ArrowLeft", "←"),
        ("ArrowDown", "↓"),
        ("ArrowUp", "↑"),
        ("ArrowRight", "→"),
        ("KeyE", "up"),
        ("KeyQ", "down"),
        ("KeyC", "close"),
        ("KeyV", "open"),
        ("Space", "hold"),
    ],
)

WIDOWX = CartesianKeymap(  # x points away from the arm's base, y to its left
    keys=[
        (("ArrowDown", "KeyS"), ("ArrowUp", "KeyW")),
        (("ArrowRight", "KeyD"), ("ArrowLeft", "KeyA")),
        (("KeyQ",), ("KeyE",)),
    ],
    axes=[(1, -1), (0, -1), (3, -1)],
    close=("KeyC", "Pad0", "Pad4"),
    open=("KeyV", "Pad1"),
    legend=[
        ("↑ ↓ or W S", "hand away from the base, towards the base"),
        ("← → or A D", "hand left, right, seen from the base"),
        ("E Q", "hand up, down"),
        ("C V", "gripper closes, opens"),
        ("space", "hold still"),
        ("gamepad", "left stick: away and sideways; right stick: up and down; ✕ or L1 closes, ○ opens; R1 holds still"),
    ],
    buttons=ARM.buttons,
    gripper=1.0,  # an episode begins with the block in the gripper
    # the default of limits.step; with another limit the arm moves limits.step / 0.02 times as far as the hand
    reach=0.02,
)
KEYMAPS: Mapping[str, Keymap] = {"lunarlander": LANDER, "widowx_peg": WIDOWX}


def keymap_for(name: str, action_spec: TensorSpec) -> Keymap:
    """Return the keymap of an environment.

    Args:
        name: Name of the environment.
        action_spec: Specification of one copy's actions, without a batch dimension.

    Raises:
        ValueError: No controls are known for these actions.
    """
    if name in KEYMAPS:
        return KEYMAPS[name]
    if isinstance(action_spec, Categorical) and action_spec.n <= 9:
        keys = {action: [f"Digit{action + 1}"] for action in range(int(action_spec.n))}
        return DiscreteKeymap(
            keys=keys,
            sticks={},
            idle=0,
            legend=[(f"1 … {len(keys)}", "the actions")],
            buttons=[(code, code[-1]) for (code,) in keys.values()],
        )
    if isinstance(action_spec, Bounded) and action_spec.shape[-1] == 4:
        return ARM
    raise ValueError(
        f"no controls are known for the actions {action_spec} of '{name}'; add them to mile.humans.controls"
    )
