"""The schema of a buffer's folder: which entries a step has, their NumPy types and their shapes."""

import re
from pathlib import Path

from mile.files import read_json
from mile.transitions import LATER, OF_EVERY_STEP, OPTIONAL, VECTOR

Entry = tuple[str, list[int]]  # NumPy type and shape of one step
Entries = dict[str, Entry]  # by name, as "next/reward"

TYPES = ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # of an entry, and of its file
FORMAT = 1


class BufferError(ValueError):
    """A buffer's folder that cannot be used as it is."""


def entry_name(key: str | tuple[str, ...]) -> str:
    """Return the name of a TensorDict's key: "next/reward" for `("next", "reward")`."""
    return key if isinstance(key, str) else "/".join(key)


def is_picture(entry: Entry) -> bool:
    """Return whether an entry is a picture, whose follower is the next row: height, width, channels of bytes."""
    return entry[0] == "|u1" and isinstance(entry[1], list) and len(entry[1]) == 3


def read_schema(folder: Path) -> tuple[str, Entries]:
    """Return the environment of the buffer in a folder, and the entries of its steps.

    Raises:
        BufferError: The schema cannot be read, or has entries that no buffer has.
    """
    path = folder / "schema.json"
    try:
        schema = read_json(path)
        if schema["format"] != FORMAT:
            raise ValueError(f"format {FORMAT} expected, got {schema['format']!r}")
        environment = schema["environment"]
        if not isinstance(environment, str) or not environment.isprintable():
            raise TypeError(f"the name of an environment expected, got {environment!r}")
        entries = {name: (dtype, shape) for name, (dtype, shape) in sorted(schema["entries"].items())}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BufferError(f"'{path}' cannot be read: {error!r}") from None
    return environment, check_entries(entries, f"'{path}'")


def check_entries(entries: Entries, place: str) -> Entries:
    """Return the entries of a schema, which may come from anywhere, if they are those of steps.

    Args:
        entries: Entries of a step.
        place: Name of the schema in error messages.

    Raises:
        BufferError: An entry is unknown or missing, or its type or shape is not one of numbers.
    """
    required = set(map(entry_name, OF_EVERY_STEP)) - LATER.keys()
    optional = set(map(entry_name, OPTIONAL)) | LATER.keys()

    # what is observed: a picture, or an entry that has a follower
    others = entries.keys() - required - optional
    observed = {name for name in others if NAME.fullmatch(name)}
    followers = {f"next/{name}" for name in observed if not is_picture(entries[name])}
    required |= followers | (set() if observed else {VECTOR[0]})

    # names
    if unknown := sorted(others - observed - followers):
        raise BufferError(f"{place} has the unknown entry {unknown[0]!r}; the entries of steps are in mile.transitions")
    if missing := sorted(required - entries.keys()):
        raise BufferError(f"{place} lacks the entry '{missing[0]}'; the entries of steps are in mile.transitions")

    # types and shapes
    for name, (dtype, shape) in entries.items():
        if dtype not in TYPES:
            raise BufferError(f"{place}: the type of '{name}' must be one of {', '.join(TYPES)}, got {dtype!r}")
        if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
            raise BufferError(f"{place}: the shape of '{name}' must be a list of sizes from 0 on, got {shape!r}")
    return entries
