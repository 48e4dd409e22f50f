"""A 3Dconnexion SpaceMouse at this machine."""

from typing import Any

from mile.humans.controls import Controls

REPORTS = 64  # read at once at most; the mouse sends some hundred a second


def find_spacemice() -> list[str]:
    """Return the names of those that are there, or a line that says why none can be found."""
    import pyspacemouse

    try:
        return list(pyspacemouse.get_connected_devices_by_path().values()) or ["none"]
    except RuntimeError:
        return ["cannot be looked for; install the HID library (Debian: libhidapi-hidraw0)"]


class SpaceMouse:
    """Reads the cap as a gamepad's sticks: sideways and towards are the left one's axes, down is the right one's.

    Its buttons are Pad0 (closes the gripper) and Pad1 (opens it).

    Raises:
        ConnectionError: there is none, or it may not be read.
    """

    def __init__(self) -> None:
        import pyspacemouse

        try:
            self._mouse: Any = pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.HID)
        except (RuntimeError, ValueError) as error:
            raise ConnectionError(f"no SpaceMouse can be read ({error}); plug it in, and see mile-devices") from None

    @property
    def name(self) -> str:
        """What the mouse is sold as."""
        return str(self._mouse.name)

    def read(self) -> Controls | None:
        """Return what is pressed and deflected; see `InputDevice`."""
        from easyhid import HIDException

        try:
            state, newest = self._mouse.read(), None
            for _ in range(REPORTS):
                if state.t == newest:  # nothing more waits
                    break
                newest, state = state.t, self._mouse.read()
        except HIDException:
            return None
        pressed = frozenset(f"Pad{number}" for number, down in enumerate(state.buttons) if down)
        return Controls(pressed, (state.x, state.y, 0.0, state.z))

    def close(self) -> None:
        """Let go of the mouse."""
        self._mouse.close()
