"""A gamepad at this machine: a PS3's, or any other that SDL knows."""

import os
from typing import Any

from mile.humans.controls import Controls

FULL_DEFLECTION = 32767  # value of an axis at its end
PULLED_FROM = 0.5  # share of a trigger's travel from where it counts as a pressed button
AXES = (0, 1, 2, 3)  # SDL's left x, left y, right x, right y
TRIGGERS = {4: "Pad6", 5: "Pad7"}  # L2, R2: axes in SDL, buttons in a browser
BUTTONS = (0, 1, 2, 3, 8, 16, 9, 10, 11, 4, 5, 12, 13, 14, 15)  # the W3C's numbers of SDL's buttons, in SDL's order


def find_gamepads() -> tuple[list[int], list[str]]:
    """Return SDL's numbers of the gamepads that are plugged in, and the names of joysticks without a map in SDL."""
    joystick, controller = _sdl()
    gamepads, unknown = [], []
    for number in range(joystick.get_count()):
        if controller.is_controller(number):
            gamepads.append(number)
        else:
            unknown.append(joystick.Joystick(number).get_name())
    return gamepads, unknown


class Gamepad:
    """Reads a gamepad through SDL, so that axes and buttons have the same names whatever the model.

    Use it in the main thread. A pad that was unplugged is read again as soon as it is back.

    Args:
        number: Number of the gamepad among those that are plugged in, from 0.

    Raises:
        ConnectionError: There is no such gamepad.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self._pad: Any = None
        if self.read() is None:
            gamepads, unknown = find_gamepads()
            others = f", and what SDL has no map of: {', '.join(unknown)}" if unknown else ""
            raise ConnectionError(
                f"gamepad {number} is asked for, {len(gamepads)} are there{others}; plug one in, and see mile-devices"
            )

    @property
    def name(self) -> str:
        """The name that the pad reports."""
        return str(self._pad.name)

    def read(self) -> Controls | None:
        """Return what is pressed and deflected; see `InputDevice`."""
        controller = _sdl()[1]
        import pygame

        # find the pad again if it was unplugged
        pygame.event.pump()
        if self._pad is not None and not self._pad.attached():
            self.close()
        if self._pad is None:
            gamepads, _ = find_gamepads()
            if self.number >= len(gamepads):
                return None
            self._pad = controller.Controller(gamepads[self.number])
            pygame.event.pump()

        # buttons, and triggers as buttons
        pressed = set()
        for place, name in enumerate(BUTTONS):
            if self._pad.get_button(place):
                pressed.add(f"Pad{name}")
        for axis, name in TRIGGERS.items():
            if self._pad.get_axis(axis) > PULLED_FROM * FULL_DEFLECTION:
                pressed.add(name)

        axes = tuple(max(-1.0, self._pad.get_axis(axis) / FULL_DEFLECTION) for axis in AXES)
        return Controls(frozenset(pressed), axes)

    def close(self) -> None:
        """Release the pad."""
        if self._pad is not None:
            self._pad.quit()
            self._pad = None


def _sdl() -> tuple[Any, Any]:
    """Start SDL, without a window if there is none yet, and return its modules for joysticks and for controllers."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    import pygame
    from pygame._sdl2 import controller

    if not pygame.display.get_init():
        os.environ["SDL_VIDEODRIVER"] = "dummy"
        pygame.display.init()
    pygame.joystick.init()
    controller.init()
    return pygame.joystick, controller
