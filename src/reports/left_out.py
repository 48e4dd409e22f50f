"""What a report leaves out, and why, in a line each."""

import sys
from collections.abc import Sequence

from mile.files import in_a_line


def words_of(error: Exception) -> str:
    """Return the message of an error in one line, with the error's kind if the message alone does not tell."""
    return in_a_line(error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


def print_left_out(lines: Sequence[str]) -> None:
    """Print what is left out on stderr."""
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


def left_out_section(lines: Sequence[str]) -> str:
    """Return what is left out as a section of Markdown; "" if it is nothing."""
    if not lines:
        return ""
    return "\n".join(["\n## Left out\n", *(f"* {line}" for line in lines), ""])
