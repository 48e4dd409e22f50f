"""A console in a window of this machine, with its keyboard and perhaps another device.

python src/train.py experiment=lunarlander human=keyboard
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.humans.console import Command
from mile.humans.controls import Controls, InputDevice

COMMANDS: dict[str, Command] = {
    "Enter": "start",
    "KeyP": "pause",
    "KeyY": "success",
    "KeyN": "failure",
    "Backspace": "discard",
    "Escape": "stop",
    "KeyR": "again",
    "KeyT": "another",
}
COMMANDS_HELP = "Enter: start   P: pause   Y: success   N: failure   Backspace: repeat   Esc: stop"
HEADLINES = {
    "preparing": "preparing …",
    "waiting": "press Enter to start",
    "paused": "paused: press Enter to continue",
    "away": "the device is not connected: plug it in, then press Enter",
    "learning": "the robot is learning …",
    "filming": "the robot tries what it has learnt …",
    "showing": "left: before you taught it, right: now (Enter: go on, R: once more)",
    "done": "done",
}
INVISIBLE_DRIVERS = ("offscreen", "dummy")  # SDL uses these where there is no screen
WINDOW_SIZE = 900, 480  # pixels
PANEL_WIDTH = 300  # pixels of the window's width that the text takes
BACKGROUND_COLOR = (24, 26, 30)  # red, green, blue
TEXT_COLOR = (230, 230, 230)
PERSON_COLOR = (255, 150, 60)
ROBOT_COLOR = (90, 170, 255)


class Window:
    """Shows the robot in a window and reads the keyboard; see `mile.humans.person.Console`.

    Use it from the main thread. While the window does not have the focus, no key counts. While the device is not
    connected, nobody is present.

    Args:
        device: Function that opens an input device besides the keyboard; None: the keyboard alone.

    Raises:
        ConnectionError: There is no such device.
        ValueError: This machine has no screen.
    """

    def __init__(self, device: Callable[[], InputDevice] | None = None) -> None:
        import pygame
        from matplotlib.font_manager import findfont

        # window
        self._pygame: Any = pygame
        try:
            pygame.display.init()
            self.screen = pygame.display.set_mode(WINDOW_SIZE, pygame.RESIZABLE)
        except pygame.error as error:
            raise ValueError(f"a window needs a screen ({error}); choose human=browser") from None
        if pygame.display.get_driver() in INVISIBLE_DRIVERS and "SDL_VIDEODRIVER" not in os.environ:
            pygame.display.quit()
            raise ValueError("a window needs a screen, this machine has none; choose human=browser")

        # text
        pygame.display.set_caption("MILE")
        pygame.font.init()
        self.font = pygame.font.Font(findfont("DejaVu Sans"), 17)  # has arrows and ν

        # input
        self.device = device() if device else None
        self.pressed_now: set[str] = set()
        self.pressed_since: set[str] = set()  # the last call of `controls`
        self.pending_commands: list[Command] = []
        self.picture: NDArray[np.uint8] | None = None
        self.show({"phase": "preparing"})

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Draw the status and the frame; without a frame the last one stays.

        Raises:
            ValueError: The status is a form.
        """
        if status["phase"] == "form":
            raise ValueError("a window has no forms; the user study needs human=browser")
        self._handle_events()

        # picture
        self.picture = self.picture if frame is None else frame
        self.screen.fill(BACKGROUND_COLOR)
        if self.picture is not None:
            self._draw(self.picture)

        # text
        top = 16
        for text, color in describe(status):
            line = self.font.render(text, True, color, wraplength=PANEL_WIDTH - 20)
            self.screen.blit(line, (self.screen.get_width() - PANEL_WIDTH + 10, top))
            top += line.get_height() + 4
        self.screen.blit(self.font.render(COMMANDS_HELP, True, TEXT_COLOR), (10, self.screen.get_height() - 28))
        self._pygame.display.flip()

    def controls(self) -> Controls:
        """Return the controls that are pressed now or were pressed since the last call."""
        self._handle_events()
        pressed = frozenset(self.pressed_now | self.pressed_since)
        self.pressed_since = set()
        state = self.device.read() if self.device else None
        if state is None:
            state = Controls()
        return state._replace(pressed=pressed | state.pressed)

    def commands(self) -> list[Command]:
        """Return the commands since the last call, oldest first."""
        self._handle_events()
        commands, self.pending_commands = self.pending_commands, []
        return commands

    def present(self) -> bool:
        """Return whether the device is connected."""
        return self.device is None or self.device.read() is not None

    def answers(self) -> None:
        """Return no answers, because a window shows no forms."""

    def close(self) -> None:
        """Close the window."""
        if self.device is not None:
            self.device.close()
        self._pygame.display.quit()

    def _draw(self, picture: NDArray[np.uint8]) -> None:
        """Draw a picture as large as fits beside the text."""
        max_width, max_height = self.screen.get_width() - PANEL_WIDTH, self.screen.get_height() - 40
        height, width = picture.shape[:2]
        scale = min(max_width / width, max_height / height)
        size = int(width * scale), int(height * scale)
        if min(size) < 1:  # the window is too small
            return
        surface = self._pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        self.screen.blit(self._pygame.transform.smoothscale(surface, size), (0, 0))

    def _handle_events(self) -> None:
        """Take in the window's events since the last call."""
        for event in self._pygame.event.get():
            if event.type == self._pygame.QUIT:
                self.pending_commands.append("stop")
            elif event.type == self._pygame.WINDOWFOCUSLOST:
                self.pressed_now.clear()
            elif event.type == self._pygame.KEYDOWN:
                name = key_name(self._pygame.key.name(event.key))
                if name in COMMANDS:
                    self.pending_commands.append(COMMANDS[name])
                else:
                    self.pressed_now.add(name)
                    self.pressed_since.add(name)
            elif event.type == self._pygame.KEYUP:
                self.pressed_now.discard(key_name(self._pygame.key.name(event.key)))


def key_name(name: str) -> str:
    """Return the browsers' name (`KeyboardEvent.code`) of the key that SDL calls `name`."""
    if len(name) == 1 and name.isalpha():
        return f"Key{name.upper()}"
    if len(name) == 1 and name.isdigit():
        return f"Digit{name}"
    if name in ("left", "right", "up", "down"):
        return f"Arrow{name.capitalize()}"
    if name in ("return", "enter"):
        return "Enter"
    return name.capitalize()


def describe(status: dict[str, Any]) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines of text that describe the status, and their colours."""
    lines: list[tuple[str, tuple[int, int, int]]]

    # who is in control
    phase = status["phase"]
    if phase != "playing" or status.get("watching"):
        lines = [(HEADLINES.get(phase, "watch"), TEXT_COLOR)]
    elif status.get("person"):
        lines = [("you are in control", PERSON_COLOR)]
    else:
        lines = [("the robot is in control", ROBOT_COLOR)]

    # which episode, or which epoch
    if status.get("title"):
        lines.append((status["title"], TEXT_COLOR))
    elif "round" in status:
        lines.append((f"round {status['round']} of {status['rounds']}", TEXT_COLOR))
        lines.append((f"episode {status['episode']} of {status['episodes']}", TEXT_COLOR))
    if phase == "learning":
        lines.append((f"epoch {status['epoch']} of {status['epochs']}, loss {status['loss']}", TEXT_COLOR))

    # what was learnt
    if phase == "showing":
        lines += [(text, TEXT_COLOR) for text in (status["words"], *status["captions"]) if text]
        if status["more"]:
            lines.append(("T: teach another round", TEXT_COLOR))

    # the episode so far
    if "step" in status:
        lines.append((f"step {status['step']}", TEXT_COLOR))
        lines.append((f"your share of the steps {status['ratio']:.0%}", TEXT_COLOR))
    if status.get("asked") is not None:
        lines.append((f"the robot asks for your help, for {status['asked']:.0f} s now", PERSON_COLOR))
    if status.get("prob") is not None:
        lines.append((f"expected of you: p(ν=1|s) = {status['prob']:.2f}", TEXT_COLOR))

    # controls
    lines.append(("", TEXT_COLOR))
    for keys, meaning in status.get("legend", ()):
        lines.append((f"{keys}: {meaning}", TEXT_COLOR))
    return lines
