import ctypes
from pathlib import Path

import pygame


class VirtualPad:
    """A gamepad that SDL itself makes up; axes and buttons are numbered as SDL's controllers'."""

    def __init__(self):
        loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libSDL2-2" in line}
        self.sdl = ctypes.CDLL(loaded.pop())
        self.sdl.SDL_JoystickFromInstanceID.restype = ctypes.c_void_p
        self.sdl.SDL_JoystickSetVirtualAxis.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int16]
        self.sdl.SDL_JoystickSetVirtualButton.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint8]
        self.plug()

    def plug(self):
        self.number = self.sdl.SDL_JoystickAttachVirtual(1, 6, 15, 0)
        self.joystick = pygame.joystick.Joystick(self.number)  # open, or SDL has no handle of it
        pygame.event.pump()

    def unplug(self):
        assert self.sdl.SDL_JoystickDetachVirtual(self.number) == 0
        pygame.event.pump()

    @property
    def _handle(self):
        return self.sdl.SDL_JoystickFromInstanceID(self.joystick.get_instance_id())

    def axis(self, number, value):
        assert self.sdl.SDL_JoystickSetVirtualAxis(self._handle, number, value) == 0

    def button(self, number, down):
        assert self.sdl.SDL_JoystickSetVirtualButton(self._handle, number, down) == 0
