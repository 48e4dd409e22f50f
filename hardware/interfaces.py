"""What the rest of the code needs of hardware."""

from typing import Protocol

from mile.humans.controls import Controls


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
