"""The keys, buttons and sticks of each environment."""

from collections.abc import Mapping

from torchrl.data import Bounded, Categorical, TensorSpec

from mile.humans.controls import CartesianKeymap, DirectKeymap, DiscreteKeymap, Keymap

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
ARM_WORDS = {
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "forward": "ArrowUp",
    "away": "ArrowUp",
    "back": "ArrowDown",
    "closer": "ArrowDown",
    "up": "KeyE",
    "down": "KeyQ",
    "close": "KeyC",
    "grip": "KeyC",
    "open": "KeyV",
    "release": "KeyV",
    "stop": "Space",
}
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
    words=ARM_WORDS,
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
    words=ARM_WORDS,
    gripper=1.0,  # an episode begins with the block in the gripper
    # the default of limits.step; with another limit the arm moves limits.step / 0.02 times as far as the hand
    reach=0.02,
)
ACROSS = (("ArrowLeft", "KeyA"), ("ArrowRight", "KeyD"))
UP = (("ArrowDown", "KeyS"), ("ArrowUp", "KeyW"))
ARROWS = [("ArrowLeft", "←"), ("ArrowDown", "↓"), ("ArrowUp", "↑"), ("ArrowRight", "→")]
CAR = DirectKeymap(
    keys=[ACROSS, UP],
    axes=[(0, 1), (3, -1)],
    legend=[
        ("← → or A D", "steer left, right"),
        ("↑ ↓ or W S", "gas, brake"),
        ("space", "roll straight on"),
        ("gamepad", "left stick: steering; right stick: gas and brake"),
    ],
    buttons=[*ARROWS, ("Space", "roll")],
    words={"left": "ArrowLeft", "right": "ArrowRight", "gas": "ArrowUp", "faster": "ArrowUp", "brake": "ArrowDown"},
)
PLANE = DirectKeymap(
    keys=[ACROSS, UP],
    axes=[(0, 1), (1, -1)],
    legend=[("← → or A D", "first part of the action"), ("↑ ↓ or W S", "second part"), ("gamepad", "left stick")],
    buttons=ARROWS,
    words={"left": "ArrowLeft", "right": "ArrowRight", "up": "ArrowUp", "down": "ArrowDown", "stop": "Space"},
)
LINE = DirectKeymap(keys=PLANE.keys[:1], axes=PLANE.axes[:1], legend=PLANE.legend[::2], buttons=ARROWS[::3])
KEYMAPS: Mapping[str, Keymap] = {"lunarlander": LANDER, "widowx_peg": WIDOWX, "car_racing": CAR}
BY_DIMENSION: Mapping[int, Keymap] = {1: LINE, 2: PLANE, 4: ARM}  # of continuous actions


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
    if isinstance(action_spec, Bounded) and action_spec.shape[-1] in BY_DIMENSION:
        return BY_DIMENSION[action_spec.shape[-1]]
    raise ValueError(
        f"no controls are known for the actions {action_spec} of '{name}'; add them to mile.humans.keymaps"
    )
