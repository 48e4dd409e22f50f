"""Who is in control: ν from a person's controls."""

from typing import Literal


class TakeOver:
    """Decides whether the person or the robot is in control.

    A stick takes control at a deflection of `engage` and gives it back below `release`. Between the two nothing
    changes, so that noise around one threshold does not switch control back and forth.

    Args:
        mode: Way of taking over. "hold": the person is in control while a control is held; "toggle": from one press of
            the button to the next; "always": all the time, for demonstrations.
        engage: Deflection at which the person takes control, in [0, 1].
        release: Deflection below which the robot takes control back, in [0, 1].

    Raises:
        ValueError: The mode is unknown, or not 0 < release < engage ≤ 1.
    """

    def __init__(
        self, mode: Literal["hold", "toggle", "always"] = "hold", engage: float = 0.3, release: float = 0.1
    ) -> None:
        if mode not in ("hold", "toggle", "always"):
            raise ValueError(f"takeover must be 'hold', 'toggle' or 'always', got '{mode}'")
        if not 0 < release < engage <= 1:
            raise ValueError(f"0 < release < engage ≤ 1 is expected, got release {release} and engage {engage}")
        self.mode = mode
        self.engage = engage
        self.release = release
        self.reset()

    def reset(self, button: bool = False) -> None:
        """Give control back to the robot (except in mode "always").

        Args:
            button: Whether the take-over button is down already; then it toggles only when it is pressed again.
        """
        self.in_control = self.mode == "always"
        self._button = button
        self._held = self._must_release = False

    def let_go(self) -> None:
        """Give control back, and heed nothing that is held now until it is released: it was meant for another robot."""
        held = self._held
        self.reset()
        self._must_release = held

    def update(self, button: bool, deflection: float) -> bool:
        """Return whether the person is in control in this step.

        Args:
            button: Whether the take-over button is down.
            deflection: Largest deflection of all other controls, in [0, 1].
        """
        self._held = button or deflection >= self.engage
        self._must_release &= self._held
        if self._must_release:
            self._button = button
            return self.in_control

        pressed = button and not self._button
        self._button = button

        if self.mode == "toggle":
            self.in_control ^= pressed
        elif self.mode == "hold":
            threshold = self.release if self.in_control else self.engage
            self.in_control = button or deflection >= threshold
        return self.in_control
