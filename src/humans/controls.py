"""What keys and sticks mean: from controls to actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torchrl.data import Bounded, Categorical, TensorSpec

TAKE_OVER = ("Space", "Pad5")  # the key or button (R1) that takes control, with or without a movement
DEAD_ZONE = 0.15  # of a stick, whose full deflection is 1


class Controls(NamedTuple):
    """The state of an input device.

    Attributes:
        pressed: keys, named as browsers do (`KeyboardEvent.code`), and a pad's buttons in the order of the W3C's
            standard gamepad, "Pad0" (cross), "Pad1", …
        axes: of a pad's sticks, in [−1, 1]: left x, left y, right x, right y; right and down are positive.
        hand: where a tracked hand is whose clutch is closed, `[3]`, m, with the robot's axes and an origin of its own.
        clutch: grows each time it closes.
    """

    pressed: frozenset[str] = frozenset()
    axes: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    hand: tuple[float, float, float] | None = None
    clutch: int = 0

    def held(self, names: Sequence[str]) -> bool:
        """Return whether one of these keys and buttons is down."""
        return not self.pressed.isdisjoint(names)

    def axis(self, number: int) -> float:
        """Return an axis without its dead zone, in [−1, 1]; 0 if there is no such axis."""
        value = self.axes[number] if number < len(self.axes) else 0.0
        beyond = max(0.0, abs(value) - DEAD_ZONE) / (1 - DEAD_ZONE)
        return min(beyond, 1.0) * (1 if value > 0 else -1)


class InputDevice(Protocol):
    """What a person acts with."""

    @property
    def name(self) -> str:
        """What the device calls itself."""
        ...

    def read(self) -> Controls | None:
        """Return what is pressed and deflected now, at once; None while the device is not there."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


class Keymap(Protocol):
    """Reads actions off controls."""

    legend: Sequence[tuple[str, str]]  # what is pressed, and what it does
    buttons: Sequence[tuple[str, str]]  # key and label, for a touch screen

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest, in [0, 1]."""
        ...

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return the action, `[]` (int64) or `[action_dim]`; `last` is the one executed before it, if any."""
        ...


@dataclass
class DiscreteKeymap:
    """One key, button or direction of the left stick for each of some discrete actions.

    Args:
        keys: by action.
        sticks: (axis, direction) by action.
        idle: action where nothing is pressed.
        legend: what is pressed, and what it does.
        buttons: key and label, for a touch screen.
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
        return max((controls.axis(axis) * way for axis, way in self.sticks.values()), default=0.0)

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return the first action whose key is down, or towards which the stick points most; see `Keymap`."""
        for action, keys in self.keys.items():
            if controls.held(keys):
                return torch.tensor(action)
        pull = {action: controls.axis(axis) * way for action, (axis, way) in self.sticks.items()}
        best = max(pull, key=pull.__getitem__, default=self.idle)
        return torch.tensor(best if pull.get(best, 0.0) > 0 else self.idle)


@dataclass
class CartesianKeymap:
    """(dx, dy, dz, gripper) in [−1, 1]: one pair of keys and one axis a direction; the gripper stays as it was.

    Or the robot follows a tracked hand, from where both were when its clutch closed: by what was executed since then,
    so that the robot neither jumps nor falls behind for good where it is slower than the hand.

    Args:
        keys: of dx, dy and dz: those that go back, those that go forth.
        axes: of dx, dy and dz, and their signs.
        close: keys that close the gripper.
        open: keys that open it.
        legend: what is pressed, and what it does.
        buttons: key and label, for a touch screen.
        speed: of a key.
        gripper: at an episode's start, 1 closed and −1 open.
        reach: of an action of 1, m.
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
    _robot: Tensor | None = field(default=None, init=False)  # where it is, had the clutch closed where it was
    _clutch: int = field(default=-1, init=False)

    def deflection(self, controls: Controls) -> float:
        """Return how far the controls are from rest; see `Keymap`."""
        if controls.hand is not None:
            return 1.0
        gripper = controls.held([*self.close, *self.open])
        return max(float(gripper), *(abs(value) for value in self._motion(controls)))

    def action(self, controls: Controls, last: Tensor | None) -> Tensor:
        """Return motion and gripper; see `Keymap`."""
        gripper = self.gripper if last is None else float(last[3])
        gripper = 1.0 if controls.held(self.close) else -1.0 if controls.held(self.open) else gripper
        if controls.hand is None:
            self._robot = None
            return torch.tensor([*self._motion(controls), gripper])
        hand = torch.tensor(controls.hand)
        if self._robot is None or last is None or controls.clutch != self._clutch:
            self._robot, self._clutch = hand, controls.clutch
        else:
            self._robot = self._robot + self.reach * last[:3]
        return torch.cat([((hand - self._robot) / self.reach).clamp(-1, 1), torch.tensor([gripper])])

    def _motion(self, controls: Controls) -> list[float]:
        pairs = ((controls.held(forth) - controls.held(back)) * self.speed for back, forth in self.keys)
        return [key or controls.axis(axis) * sign for key, (axis, sign) in zip(pairs, self.axes, strict=True)]


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
        ("pad", "left stick or cross"),
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
        ("pad", "left stick: away and sideways; right stick: up and down; ✕ closes, ○ opens"),
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

WIDOWX = CartesianKeymap(  # x away from the arm's foot, y to its left
    keys=[
        (("ArrowDown", "KeyS"), ("ArrowUp", "KeyW")),
        (("ArrowRight", "KeyD"), ("ArrowLeft", "KeyA")),
        (("KeyQ",), ("KeyE",)),
    ],
    axes=[(1, -1), (0, -1), (3, -1)],
    close=("KeyC", "Pad0", "Pad4"),
    open=("KeyV", "Pad1"),
    legend=[
        ("↑ ↓ or W S", "hand away from its foot, towards it"),
        ("← → or A D", "hand left, right, seen from its foot"),
        ("E Q", "hand up, down"),
        ("C V", "gripper closes, opens"),
        ("space", "hold still"),
        ("pad", "left stick: away and sideways; right stick: up and down; ✕ or L1 closes, ○ opens; R1 holds still"),
    ],
    buttons=ARM.buttons,
    gripper=1.0,  # it begins with the block
    reach=0.02,  # the default of limits.step; with another the arm goes limits.step / 0.02 times as far as the hand
)
KEYMAPS: Mapping[str, Keymap] = {"lunarlander": LANDER, "widowx_peg": WIDOWX}


def keymap_for(name: str, action_spec: TensorSpec) -> Keymap:
    """Return the controls of an environment.

    Args:
        name: of the environment.
        action_spec: unbatched.

    Raises:
        ValueError: a person has no way to act there.
    """
    if name in KEYMAPS:
        return KEYMAPS[name]
    if isinstance(action_spec, Categorical) and action_spec.n <= 9:
        keys = {action: [f"Digit{action + 1}"] for action in range(int(action_spec.n))}
        buttons = [(names[0], names[0][-1]) for names in keys.values()]
        return DiscreteKeymap(keys, {}, 0, [(f"1 … {len(keys)}", "the actions")], buttons)
    if isinstance(action_spec, Bounded) and action_spec.shape[-1] == 4:
        return ARM
    raise ValueError(
        f"no controls are known for the actions {action_spec} of '{name}'; add them to mile.humans.controls"
    )
