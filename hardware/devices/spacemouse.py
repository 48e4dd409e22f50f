"""A 3Dconnexion SpaceMouse at this machine."""

from typing import Any

from mile.humans.controls import Controls

MAX_REPORTS = 64  # in one read; the mouse sends some hundred a second


def find_spacemice() -> list[str]:
    """Return the names of the mice that are plugged in, or a line that says why none can be found."""
    import pyspacemouse

    try:
        return list(pyspacemouse.get_connected_devices_by_path().values()) or ["none"]
    except RuntimeError:
        return ["cannot be looked for; install the HID library (Debian: libhidapi-hidraw0)"]


class SpaceMouse:
    """Reads the cap as a gamepad's sticks: sideways and towards are the left one's axes, down is the right one's.

    Its buttons are Pad0 (closes the gripper) and Pad1 (opens it).

    Raises:
        ConnectionError: There is no mouse, or reading it is not permitted.
    """

    def __init__(self) -> None:
        self._mouse: Any = self._open()
        self.name = str(self._mouse.name)

    def _open(self) -> Any:
        import pyspacemouse

        try:
            return pyspacemouse.open(axis_convention=pyspacemouse.AxisConvention.HID)
        except (RuntimeError, ValueError) as error:
            raise ConnectionError(f"no SpaceMouse can be read ({error}); plug it in, and see mile-devices") from None

    def read(self) -> Controls | None:
        """Return what is pressed and deflected; see `InputDevice`. A mouse that is plugged in again is found again."""
        from easyhid import HIDException

        if self._mouse is None:
            try:
                self._mouse = self._open()
            except ConnectionError:
                return None

        # read reports until no newer one waits
        try:
            state, newest_time = self._mouse.read(), None
            for _ in range(MAX_REPORTS):
                if state.t == newest_time:
                    break
                newest_time, state = state.t, self._mouse.read()
        except HIDException:
            self._mouse = None
            return None

        pressed = frozenset(f"Pad{number}" for number, down in enumerate(state.buttons) if down)
        return Controls(pressed, (state.x, state.y, 0.0, state.z))

    def close(self) -> None:
        """Release the mouse."""
        if self._mouse is not None:
            self._mouse.close()
