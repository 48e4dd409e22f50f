"""A console in a window of this machine, with its keyboard and perhaps another device.

python src/train.py experiment=lunarlander human=keyboard
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.humans.controls import Controls, InputDevice
from mile.humans.person import Command

COMMANDS: dict[str, Command] = {
    "Enter": "start",
    "KeyP": "pause",
    "KeyY": "success",
    "KeyN": "failure",
    "Backspace": "discard",
    "Escape": "stop",
}
HELP = "Enter start   P pause   Y success   N failure   Backspace redo   Esc stop"
WORDS = {
    "preparing": "preparing …",
    "waiting": "press Enter to start",
    "paused": "paused: Enter goes on",
    "away": "the device is gone: plug it in, then Enter",
    "learning": "the robot is learning …",
    "done": "done",
}
UNSEEN = ("offscreen", "dummy")  # what SDL falls back to
SIZE = 900, 480  # pixels
PANEL = 300  # of these, for words
BACK, TEXT, PERSON, ROBOT = (24, 26, 30), (230, 230, 230), (255, 150, 60), (90, 170, 255)


class Window:
    """Shows the robot in a window and reads the keyboard; see `mile.humans.person.Console`.

    To be used from the main thread. While the window has not the focus, no key counts; while the device is not there,
    nobody is.

    Args:
        device: makes what is read besides the keyboard.

    Raises:
        ConnectionError: there is no such device.
        ValueError: this machine has no screen.
    """

    def __init__(self, device: Callable[[], InputDevice] | None = None) -> None:
        import pygame
        from matplotlib.font_manager import findfont

        self._pygame: Any = pygame
        try:
            pygame.display.init()
            self.screen = pygame.display.set_mode(SIZE, pygame.RESIZABLE)
        except pygame.error as error:
            raise ValueError(f"a window needs a screen ({error}); choose human=browser") from None
        if pygame.display.get_driver() in UNSEEN and "SDL_VIDEODRIVER" not in os.environ:
            pygame.display.quit()
            raise ValueError("a window needs a screen, this machine has none; choose human=browser")
        pygame.display.set_caption("MILE")
        pygame.font.init()
        self.font = pygame.font.Font(findfont("DejaVu Sans"), 17)  # has arrows and ν
        self.device = device() if device else None
        self.held: set[str] = set()
        self.tapped: set[str] = set()
        self.commanded: list[Command] = []
        self.picture: NDArray[np.uint8] | None = None
        self.show({"phase": "preparing"})

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Draw what goes on; without a frame the last one stays.

        Raises:
            ValueError: it is a form.
        """
        if status["phase"] == "form":
            raise ValueError("a window has no forms; the user study needs human=browser")
        self._listen()
        self.picture = self.picture if frame is None else frame
        self.screen.fill(BACK)
        if self.picture is not None:
            self._draw(self.picture)
        top = 16
        for words, color in describe(status):
            line = self.font.render(words, True, color, wraplength=PANEL - 20)
            self.screen.blit(line, (self.screen.get_width() - PANEL + 10, top))
            top += line.get_height() + 4
        self.screen.blit(self.font.render(HELP, True, TEXT), (10, self.screen.get_height() - 28))
        self._pygame.display.flip()

    def controls(self) -> Controls:
        """Return what is pressed now, or was since the last call."""
        self._listen()
        pressed, self.tapped = frozenset(self.held | self.tapped), set()
        state = (self.device.read() if self.device else None) or Controls()
        return state._replace(pressed=pressed | state.pressed)

    def commands(self) -> list[Command]:
        """Return what was commanded since the last call."""
        self._listen()
        commanded, self.commanded = self.commanded, []
        return commanded

    def present(self) -> bool:
        """Return whether the device is there."""
        return self.device is None or self.device.read() is not None

    def answers(self) -> None:
        """Return no answers: there are no forms."""

    def close(self) -> None:
        """Close the window."""
        if self.device is not None:
            self.device.close()
        self._pygame.display.quit()

    def _draw(self, picture: NDArray[np.uint8]) -> None:
        """Draw a picture as large as it fits beside the words."""
        room = self.screen.get_width() - PANEL, self.screen.get_height() - 40
        scale = min(room[0] / picture.shape[1], room[1] / picture.shape[0])
        size = int(picture.shape[1] * scale), int(picture.shape[0] * scale)
        surface = self._pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        self.screen.blit(self._pygame.transform.smoothscale(surface, size), (0, 0))

    def _listen(self) -> None:
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                self.commanded.append("stop")
            elif event.type == self._pygame.WINDOWFOCUSLOST:
                self.held.clear()
            elif event.type == self._pygame.KEYDOWN:
                name = key_name(self._pygame.key.name(event.key))
                if name in COMMANDS:
                    self.commanded.append(COMMANDS[name])
                else:
                    self.held.add(name)
                    self.tapped.add(name)
            elif event.type == self._pygame.KEYUP:
                self.held.discard(key_name(self._pygame.key.name(event.key)))


def key_name(name: str) -> str:
    """Return a browser's name (`KeyboardEvent.code`) of a key that SDL calls `name`."""
    if len(name) == 1 and name.isalpha():
        return f"Key{name.upper()}"
    if len(name) == 1 and name.isdigit():
        return f"Digit{name}"
    if name in ("left", "right", "up", "down"):
        return f"Arrow{name.capitalize()}"
    return {"return": "Enter", "enter": "Enter"}.get(name, name.capitalize())


def describe(status: dict[str, Any]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines of words that say what goes on, and their colours."""
    phase, by_person = status["phase"], status.get("person")
    playing = ("you are in control", PERSON) if by_person else ("the robot is in control", ROBOT)
    lines = [playing if phase == "playing" and not status.get("watching") else (WORDS.get(phase, "watch"), TEXT)]
    if status.get("title"):
        lines.append((status["title"], TEXT))
    elif "round" in status:
        lines.append((f"round {status['round']} of {status['rounds']}", TEXT))
        lines.append((f"episode {status['episode']} of {status['episodes']}", TEXT))
    if phase == "learning":
        lines.append((f"epoch {status['epoch']} of {status['epochs']}, loss {status['loss']}", TEXT))
    if "step" in status:
        lines.append((f"step {status['step']}", TEXT))
        lines.append((f"yours so far {status['ratio']:.0%}", TEXT))
    if status.get("prob") is not None:
        lines.append((f"expected: p(ν=1|s) = {status['prob']:.2f}", TEXT))
    lines.append(("", TEXT))
    return lines + [(f"{keys}: {meaning}", TEXT) for keys, meaning in status.get("legend", ())]
