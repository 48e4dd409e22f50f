"""Forms that a person fills in at a console: which can be answered, and which answers count."""

from collections.abc import Mapping
from typing import Any


def check_form(form: Mapping[str, Any]) -> None:
    """Raise if nobody could answer a form.

    Raises:
        ValueError: A field is malformed.
    """
    for field in form["fields"]:
        kind, options = field["kind"], field.get("options", ())
        if kind not in ("choice", "scale", "text"):
            raise ValueError(f"'{field['name']}' must be a choice, scale or text, got '{kind}'")
        if kind == "choice" and not (options and all(isinstance(option, str) for option in options)):
            raise ValueError(f"the options of '{field['name']}' must be words (in quotes), got {list(options)}")
        if kind == "scale" and not field["low"] < field["high"]:
            raise ValueError(f"'{field['name']}' must go from low to high, got {field['low']} to {field['high']}")


def is_valid(field: Mapping[str, Any], answer: int | str | None) -> bool:
    """Return whether an answer is possible in a field."""
    if field["kind"] == "scale":
        return isinstance(answer, int) and field["low"] <= answer <= field["high"]
    if field["kind"] == "choice":
        return isinstance(answer, str) and answer in field["options"]
    return isinstance(answer, str)
