"""A gamepad at this machine: of a PS3, or any other that SDL knows."""

import os
from typing import Any

from mile.humans.controls import Controls

FULL = 32767  # of an axis
PULLED = 0.5  # of a trigger, from where it counts as a button
AXES = (0, 1, 2, 3)  # SDL's left x, left y, right x, right y
TRIGGERS = {4: "Pad6", 5: "Pad7"}  # L2, R2: axes in SDL, buttons in a browser
BUTTONS = (0, 1, 2, 3, 8, 16, 9, 10, 11, 4, 5, 12, 13, 14, 15)  # the W3C's number of each of SDL's, in SDL's order


def find_gamepads() -> tuple[list[int], list[str]]:
    """Return SDL's numbers of the gamepads that are there, and the names of joysticks that it has no map for."""
    joystick, controller = _sdl()
    numbers = range(joystick.get_count())
    unknown = [joystick.Joystick(number).get_name() for number in numbers if not controller.is_controller(number)]
    return [number for number in numbers if controller.is_controller(number)], unknown


class Gamepad:
    """Reads a gamepad through SDL, so that axes and buttons have the same names whatever the model.

    To be used from the main thread. A pad that was unplugged is taken up again when it is back.

    Args:
        number: which of the pads that are there, from 0.

    Raises:
        ConnectionError: there is no such pad.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self._pad: Any = None
        if self.read() is None:
            there, unknown = find_gamepads()
            strange = f", and what SDL has no map of: {', '.join(unknown)}" if unknown else ""
            raise ConnectionError(
                f"gamepad {number} is asked for, {len(there)} are there{strange}; plug one in, and see mile-devices"
            )

    @property
    def name(self) -> str:
        """What the pad calls itself."""
        return str(self._pad.name)

    def read(self) -> Controls | None:
        """Return what is pressed and deflected; see `InputDevice`."""
        controller = _sdl()[1]
        import pygame

        pygame.event.pump()
        if self._pad is not None and not self._pad.attached():
            self.close()
        if self._pad is None:
            there, _ = find_gamepads()
            if self.number >= len(there):
                return None
            self._pad = controller.Controller(there[self.number])
            pygame.event.pump()
        pressed = {f"Pad{name}" for place, name in enumerate(BUTTONS) if self._pad.get_button(place)}
        pressed |= {name for axis, name in TRIGGERS.items() if self._pad.get_axis(axis) > PULLED * FULL}
        return Controls(frozenset(pressed), tuple(max(-1.0, self._pad.get_axis(axis) / FULL) for axis in AXES))

    def close(self) -> None:
        """Let go of the pad."""
        if self._pad is not None:
            self._pad.quit()
            self._pad = None


def _sdl() -> tuple[Any, Any]:
    """Return SDL's joysticks and controllers, running: beside a window, or where there is none without one."""
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
