"""A Meta Quest 2's controller, read over adb: an app on the headset prints poses and buttons to its log."""

import math
import re
import subprocess
import threading
import time
from typing import NamedTuple

from mile.humans.controls import Controls

APP = "com.rail.oculus.teleop/com.rail.oculus.teleop.MainActivity"  # of RAIL Berkeley's oculus_reader
TAG = "wE9ryARX"
PATIENCE = 5.0  # s, for the first pose
FRESH = 0.2  # s; the app prints some 70 poses a second
GRIPPED = 0.5  # of the grip, from where the clutch is closed
RIGHT = re.compile(r"\br:((?:[-+.e\d]+ ){15}[-+.e\d]+)")
BUTTONS = {"RTr": "Pad0", "B": "Pad1"}  # the trigger closes the gripper, B opens it


def find_quests(adb: str = "adb") -> list[str]:
    """Return a line for each device that adb knows, or one that says why there is none."""
    try:
        listed = subprocess.run([adb, "devices"], check=False, capture_output=True, text=True, timeout=20).stdout
    except FileNotFoundError:
        return ["cannot be looked for; install adb (Debian: adb)"]
    return [" ".join(line.split()) for line in listed.splitlines()[1:] if line.strip()] or ["none"]


class Pose(NamedTuple):
    """What the app prints of the right controller.

    Attributes:
        position: `[3]`, m: to the right, up, backward, as the headset lies.
        pressed: names of the buttons that are down.
        grip: how far it is closed, in [0, 1].
    """

    position: tuple[float, float, float]
    pressed: frozenset[str]
    grip: float


class Quest:
    """Reads the right controller's position while its grip is held, which is the clutch; see `Controls.hand`.

    The headset stays where it lies: positions are relative to it.

    Args:
        facing: from where the headset looks to where the arm does, degrees anticlockwise seen from above.
        adb: the program.

    Raises:
        ConnectionError: there is no headset, no adb, or no app that prints.
    """

    name = "Meta Quest"

    def __init__(self, facing: float = 0.0, adb: str = "adb") -> None:
        self.turn = math.radians(facing)
        self.newest: tuple[Pose, float] | None = None
        self.seen = threading.Event()
        try:
            start, log = ["shell", "am", "start", "-n", APP], ["logcat", "-v", "raw", "-T", "1", "-s", f"{TAG}:I"]
            subprocess.run([adb, *start], capture_output=True, text=True, check=True, timeout=20)
            self.process = subprocess.Popen([adb, *log], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except FileNotFoundError:
            raise ConnectionError("a Quest is read over adb, which is not installed (Debian: adb)") from None
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            why = str(error.stderr or error).strip().splitlines()[-1]
            raise ConnectionError(f"no Quest answers ({why}); plug it in, allow debugging there; adb devices") from None
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        if not self.seen.wait(PATIENCE):
            self.close()
            raise ConnectionError("the Quest prints no poses; put oculus_reader on it, wake it and its controller")

    def read(self) -> Controls | None:
        """Return the hand and what is pressed; None while poses are missing. See `InputDevice`."""
        if self.process.poll() is not None or self.newest is None or time.monotonic() - self.newest[1] > FRESH:
            return None
        pose = self.newest[0]
        right, up, backward = pose.position
        forward, left = -backward, -right
        ahead = forward * math.cos(self.turn) + left * math.sin(self.turn)
        beside = left * math.cos(self.turn) - forward * math.sin(self.turn)
        pressed = frozenset(name for button, name in BUTTONS.items() if button in pose.pressed)
        return Controls(pressed, hand=(ahead, beside, up) if pose.grip > GRIPPED else None)

    def close(self) -> None:
        """Let go of the headset."""
        self.process.kill()
        self.process.wait()
        self.thread.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as log:
            for line in log:
                pose = parse(line)
                if pose is not None:
                    self.newest = pose, time.monotonic()
                    self.seen.set()


def parse(line: str) -> Pose | None:
    """Return what a line says of the right controller, None if nothing.

    Args:
        line: `l:` and 16 numbers, the pose's matrix row by row, `|r:` and 16 more, `&` and names of buttons with their
            values, separated by commas.
    """
    found = RIGHT.search(line)
    if found is None:
        return None
    parts = [it.split() for it in line.partition("&")[2].split(",")]
    try:
        numbers = [float(it) for it in found[1].split()]
        grip = next((float(it[1]) for it in parts if len(it) == 2 and it[0] == "rightGrip"), 0.0)
    except ValueError:
        return None
    return Pose((numbers[3], numbers[7], numbers[11]), frozenset(it[0] for it in parts if len(it) == 1), grip)
