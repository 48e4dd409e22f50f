"""The place where a person watches the robot and acts."""

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mile.humans.controls import Controls

Command = Literal["start", "success", "failure", "discard", "pause", "stop", "again", "another"]


class Console(Protocol):
    """The place where a person watches the robot and acts."""

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Show the status, and a picture `[height, width, 3]` if there is a new one."""
        ...

    def controls(self) -> Controls:
        """Return the controls that are pressed now or were pressed since the last call."""
        ...

    def commands(self) -> list[Command]:
        """Return the commands since the last call, oldest first."""
        ...

    def present(self) -> bool:
        """Return whether somebody is at the console."""
        ...

    def answers(self) -> dict[str, int | str] | None:
        """Return the answers to a form since the last call; None: there are none."""
        ...

    def close(self) -> None:
        """Release the console."""
        ...
