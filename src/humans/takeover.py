"""Who is in control: from a person's controls to ν."""

from typing import Literal


class TakeOver:
    """Hold a control to take over, or toggle, or act alone, without being moved by a noisy axis.

    A stick takes over beyond `engage` and gives back within `release`: what trembles around one of them changes
    nothing.

    Args:
        mode: "hold": in control while a control is held; "toggle": from one press of the button to the next;
            "always": for demonstrations.
        engage: deflection that takes over, in [0, 1].
        release: deflection below which control goes back.

    Raises:
        ValueError: the mode is unknown, or not 0 < release < engage ≤ 1.
    """

    def __init__(
        self, mode: Literal["hold", "toggle", "always"] = "hold", engage: float = 0.3, release: float = 0.1
    ) -> None:
        if mode not in ("hold", "toggle", "always"):
            raise ValueError(f"takeover must be 'hold', 'toggle' or 'always', got '{mode}'")
        if not 0 < release < engage <= 1:
            raise ValueError(f"0 < release < engage ≤ 1 is expected, got release {release} and engage {engage}")
        self.mode, self.engage, self.release = mode, engage, release
        self.reset()

    def reset(self, button: bool = False) -> None:
        """Give control to the robot; a button that is down already toggles nothing."""
        self.in_control = self.mode == "always"
        self._button = button

    def update(self, button: bool, deflection: float) -> bool:
        """Return whether the person is in control in this step.

        Args:
            button: whether the take-over button is down.
            deflection: of all other controls, in [0, 1].
        """
        pressed, self._button = button and not self._button, button
        if self.mode == "toggle":
            self.in_control ^= pressed
        elif self.mode == "hold":
            self.in_control = button or deflection >= (self.release if self.in_control else self.engage)
        return self.in_control
