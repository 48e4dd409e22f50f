"""A Meta Quest 2's controller, read over adb: an app on the headset prints poses and buttons to its log."""

import math
import re
import subprocess
import threading
import time
from typing import Any, NamedTuple

from mile.humans.controls import Controls

APP = "com.rail.oculus.teleop/com.rail.oculus.teleop.MainActivity"  # of RAIL Berkeley's oculus_reader
TAG = "wE9ryARX"
PATIENCE = 5.0  # s, for the first pose
FRESH = 0.2  # s between poses, of which the app prints some 70 a second
CLOSED, OPEN = 0.6, 0.4  # of the grip: the clutch closes above, and opens below
RIGHT = re.compile(r"\br:((?:[-+.e\d]+ ){15}[-+.e\d]+)")
BUTTONS = {"RTr": "Pad0", "B": "Pad1"}  # the trigger closes the gripper, B opens it


def find_quests(adb: str = "adb") -> list[str]:
    """Return a line for each device that adb knows, or one that says why there is none."""
    try:
        listed = subprocess.run([adb, "devices"], check=False, capture_output=True, text=True, timeout=20).stdout
    except FileNotFoundError:
        return ["cannot be looked for; install adb (Debian: adb)"]
    except subprocess.TimeoutExpired:
        return ["adb does not answer; adb kill-server, and try again"]
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

    The headset stays where it lies: positions are relative to it. One that was unplugged is taken up again.

    Args:
        facing: from where the headset looks to where the arm does, degrees anticlockwise seen from above.
        adb: the program.

    Raises:
        ConnectionError: there is no headset, no adb, or no app that prints.
    """

    name = "Meta Quest"

    def __init__(self, facing: float = 0.0, adb: str = "adb") -> None:
        self.turn, self.adb = math.radians(facing), adb
        self.newest: tuple[Controls, float] | None = None
        self.clutch, self.closed = 0, False
        self.seen, self.over = threading.Event(), threading.Event()
        try:
            start = [adb, "shell", "am", "start", "-n", APP]
            subprocess.run(start, capture_output=True, text=True, check=True, timeout=20)
        except FileNotFoundError:
            raise ConnectionError("a Quest is read over adb, which is not installed (Debian: adb)") from None
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            why = str(error.stderr or error).strip().splitlines()[-1]
            raise ConnectionError(f"no Quest answers ({why}); plug it in, allow debugging there; adb devices") from None
        self.process: subprocess.Popen | None = None
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        if not self.seen.wait(PATIENCE):
            self.close()
            raise ConnectionError("the Quest prints no poses; put oculus_reader on it, wake it and its controller")

    def read(self) -> Controls | None:
        """Return the hand and what is pressed; None while poses are missing. See `InputDevice`."""
        newest = self.newest
        return newest[0] if newest is not None and time.monotonic() - newest[1] < FRESH else None

    def close(self) -> None:
        """Let go of the headset."""
        self.over.set()
        if self.process is not None:
            self.process.kill()
        self.thread.join()

    def _listen(self) -> None:
        """Read the app's log, and begin again if it ends."""
        log = [self.adb, "logcat", "-v", "raw", "-T", "1", "-s", f"{TAG}:I"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        while not self.over.wait(0.2):
            with subprocess.Popen(log, text=True, errors="replace", **pipes) as self.process:
                before = -math.inf  # the log begins with an old line
                for line in self.process.stdout or ():
                    pose, now = parse(line), time.monotonic()
                    if self.over.is_set():
                        self.process.kill()
                    elif pose is not None:
                        self._hear(pose, now, now - before < FRESH)
                        before = now

    def _hear(self, pose: Pose, now: float, flowing: bool) -> None:
        """Take a pose, unless it may be an old one; after a gap the clutch must count as closed anew."""
        held = pose.grip > (OPEN if self.closed and flowing else CLOSED)
        self.clutch += held and not (self.closed and flowing)
        self.closed = held
        if not flowing:
            return
        right, up, backward = pose.position
        forward, left = -backward, -right
        ahead = forward * math.cos(self.turn) + left * math.sin(self.turn)
        beside = left * math.cos(self.turn) - forward * math.sin(self.turn)
        pressed = frozenset(name for button, name in BUTTONS.items() if button in pose.pressed)
        self.newest = Controls(pressed, hand=(ahead, beside, up) if held else None, clutch=self.clutch), now
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
    if not all(map(math.isfinite, (*numbers, grip))):
        return None
    return Pose((numbers[3], numbers[7], numbers[11]), frozenset(it[0] for it in parts if len(it) == 1), grip)
