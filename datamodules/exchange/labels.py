"""Who acted in each step of others' recordings, by the names and the words that they use."""

import warnings
from collections.abc import Container
from typing import Any, NamedTuple

import numpy as np

# names of entries that say who acted: ours, LeRobot's, those of HIL-SERL's recorders, Sirius'
NAMES = (
    "intervened",
    "intervention",
    "is_intervention",
    "complementary_info.is_intervention",
    "action_modes",
    "intv_labels",
    "control_mode",
    "mode",
)
DEMO, ROBOT, HUMAN, BEFORE = -1, 0, 1, -10  # robomimic's action_modes; the last is Sirius', in intv_labels
WORDS = {
    ROBOT: ("robot", "policy", "inference", "rollout", "auto", "autonomous", "model"),
    HUMAN: ("human", "teleop", "teleoperation", "teleoperated", "intervention", "correction", "expert", "manual"),
}


class Labels(NamedTuple):
    """Where to read who acted.

    Attributes:
        name: Name of the entry; None: one of `NAMES`, if it is there; `NOBODY`: none says it.
        human: Value of it, or word, in the steps of the human; None: 1, true, or one of `WORDS`.
    """

    name: str | None = None
    human: str | None = None


USUAL = Labels()
NOBODY = "none"  # name of no entry: all episodes are demonstrations


def label_names(labels: Labels) -> tuple[str, ...]:
    """Return the names of the entries that may say who acted; none of them if the name is `NOBODY`."""
    if labels.name == NOBODY:
        return ()
    return NAMES if labels.name is None else (labels.name,)


def label_entry(labels: Labels, present: Container[str]) -> str | None:
    """Return the name of the entry that says who acted, None if there is none.

    Args:
        labels: Where to read it.
        present: Names of the entries that there are.

    Raises:
        ValueError: There is no entry of the name that was asked for, or none for the human's value.
    """
    for name in label_names(labels):
        if name in present:
            return name
    if labels.name not in (None, NOBODY):
        raise ValueError(f"there is no entry '{labels.name}' to say who acted")
    if labels.human is not None:
        raise ValueError(f"nothing says who acted, and the human's value is '{labels.human}'; name it by --intervened")
    return None


def who_acted(labels: Labels, name: str, values: Any) -> tuple[np.ndarray, bool]:
    """Return in which steps a human acted, `[steps]` bool, and whether these are a demonstration.

    An episode in which the human acts from its first step to its last is one: nobody decided to intervene.

    Args:
        labels: Where it is read.
        name: Name of the entry.
        values: What it holds in each step: truth values, whole numbers or words.

    Raises:
        ValueError: A value says neither robot nor human.
    """
    entries = [value.decode() if isinstance(value, bytes) else value for value in np.asarray(values).ravel().tolist()]
    codes = np.array([_code(labels, name, value) for value in entries], np.int64)

    # Sirius' own labels of the steps before an intervention
    before = codes == BEFORE
    if before.any():
        ends = before & ~np.append(before[1:], False)
        length = round(before.sum() / ends.sum())
        warnings.warn(
            f"'{name}' marks some {length} steps before each intervention: they are the robot's, and method=sirius "
            f"finds them itself, with method.pre_intervention_steps={length}",
            stacklevel=2,
        )
    by_human = (codes == HUMAN) | (codes == DEMO)
    return by_human, bool(by_human.all())


def _code(labels: Labels, name: str, value: Any) -> int:
    """Return robomimic's number of who acts where an entry has this value."""
    if labels.human is not None:
        return HUMAN if _is(value, labels.human) else ROBOT
    if isinstance(value, str):
        for code, words in WORDS.items():
            if value.strip().lower() in words:
                return code
    elif value in (DEMO, ROBOT, HUMAN, BEFORE):
        return int(value)
    raise ValueError(
        f"'{name}' must say who acted, robot (0, false, {', '.join(WORDS[ROBOT][:3])}) or human (1, true, "
        f"{', '.join(WORDS[HUMAN][:2])}), got {value!r}; name the human's value with --human, or with --intervened "
        "the entry that does, none if there is none"
    )


def _is(value: Any, word: str) -> bool:
    """Return whether a value is what a word of the command line says, a number or a truth value in whatever form."""
    if str(value).strip().lower() == word.strip().lower():
        return True
    try:
        return not isinstance(value, str) and float(value) == float(word)
    except ValueError:
        return False
