"""Files that are whole or absent, whenever the process is killed; a damaged one is named in a one-line error."""

import json
import os
import warnings
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file through a draft beside it: a reader sees the old content or the new one, never a part.

    Where the file or its draft is a link, the link is replaced, not followed.
    """
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)

    with draft.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

    draft.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise damaged(path, error) from None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects in a file of JSON lines, in order; none if there is no such file.

    A last line without its end was cut by a power failure or a full disk, and is left out with a warning.

    Raises:
        ValueError: Another line is damaged.
    """
    lines = whole_lines(path)
    length = sum(map(len, lines))  # bytes
    if path.exists() and path.stat().st_size > length:
        warnings.warn(f"'{path}': the last line was not finished and is left out", stacklevel=2)

    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise damaged(path, error) from None


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Append an object to a file of JSON lines, and force it to disk.

    A last line that was not finished is overwritten.
    """
    refuse_links(path)
    path.touch()
    end = sum(map(len, whole_lines(path)))  # bytes

    with path.open("r+b") as file:
        file.truncate(end)
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def damaged(path: Path, error: object) -> ValueError:
    """Return the error to raise for a file whose content is not as it was written."""
    return ValueError(f"'{path}' is damaged ({error}); restore it from a copy, or remove it")


def refuse_links(path: Path) -> None:
    """Raise if a file that will be written to, or anything in such a folder, leads elsewhere: it may be foreign.

    Raises:
        ValueError: There is a link, or something else that is no plain file or folder.
    """
    inside = path.rglob("*") if path.is_dir() else ()
    for part in (path, *inside):
        if part.is_symlink() or (part.exists() and not part.is_file() and not part.is_dir()):
            raise ValueError(f"'{part}' is no plain file or folder; remove it, or copy what it leads to in its place")


def in_a_line(words: object) -> str:
    """Return words in one line, with "?" in the place of each character that would steer a terminal."""
    line = " ".join(str(words).split())
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file, without a last one that was not finished; none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines
