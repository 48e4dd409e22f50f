"""A Meta Quest 2's controller, read over adb: an app on the headset prints poses and buttons to its log."""

import math
import re
import subprocess
import threading
import time
from typing import Any, NamedTuple

from mile.humans.controls import Controls

APP = "com.rail.oculus.teleop/com.rail.oculus.teleop.MainActivity"  # of RAIL Berkeley's oculus_reader
TAG = "wE9ryARX"  # of the app's lines in the log
FIRST_POSE_TIMEOUT = 5.0  # s
MAX_POSE_AGE = 0.2  # s; the app prints some 70 poses a second
GRIP_CLOSES, GRIP_OPENS = 0.6, 0.4  # the clutch closes where the grip is above the first, opens below the second
RIGHT_POSE = re.compile(r"\br:((?:[-+.e\d]+ ){15}[-+.e\d]+)")
BUTTONS = {"RTr": "Pad0", "B": "Pad1"}  # the trigger closes the gripper, B opens it


def find_quests(adb: str = "adb") -> list[str]:
    """Return a line for each device that adb knows, or one that says why there is none."""
    try:
        listing = subprocess.run([adb, "devices"], check=False, capture_output=True, text=True, timeout=20).stdout
    except FileNotFoundError:
        return ["cannot be looked for; install adb (Debian: adb)"]
    except subprocess.TimeoutExpired:
        return ["adb does not answer; adb kill-server, and try again"]

    devices = [" ".join(line.split()) for line in listing.splitlines()[1:] if line.strip()]
    return devices or ["none"]


class Pose(NamedTuple):
    """The right controller's state, as the app prints it.

    Attributes:
        position: Position, `[3]`, m: to the right, up, backward, as the headset lies.
        pressed: Names of the pressed buttons.
        grip: Share by which the grip is closed, in [0, 1].
    """

    position: tuple[float, float, float]
    pressed: frozenset[str]
    grip: float


class Quest:
    """Reads the right controller's position while its grip, which is the clutch, is held; see `Controls.hand`.

    Leave the headset where it lies, because positions are relative to it. A headset that was unplugged is read again
    as soon as it is back.

    Args:
        facing: Angle from the headset's viewing direction to the arm's, degrees anticlockwise seen from above.
        adb: Path of the program adb.

    Raises:
        ConnectionError: There is no headset, no adb, or no app that prints.
    """

    name = "Meta Quest"

    def __init__(self, facing: float = 0.0, adb: str = "adb") -> None:
        self.turn, self.adb = math.radians(facing), adb
        self.newest: tuple[Controls, float] | None = None
        self.clutch, self.closed = 0, False
        self.has_pose, self.closing = threading.Event(), threading.Event()

        # start the app
        try:
            start = [adb, "shell", "am", "start", "-n", APP]
            subprocess.run(start, capture_output=True, text=True, check=True, timeout=20)
        except FileNotFoundError:
            raise ConnectionError("a Quest is read over adb, which is not installed (Debian: adb)") from None
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = str(error.stderr or error).strip().splitlines()[-1]
            raise ConnectionError(
                f"no Quest answers ({reason}); plug it in, allow debugging there; adb devices"
            ) from None

        # read its log in a thread
        self.process: subprocess.Popen | None = None
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        if not self.has_pose.wait(FIRST_POSE_TIMEOUT):
            self.close()
            raise ConnectionError("the Quest prints no poses; put oculus_reader on it, wake it and its controller")

    def read(self) -> Controls | None:
        """Return the hand and what is pressed; None while poses are missing. See `InputDevice`."""
        if self.newest is None:
            return None
        controls, pose_time = self.newest
        return controls if time.monotonic() - pose_time < MAX_POSE_AGE else None

    def close(self) -> None:
        """Stop reading, and release the headset."""
        self.closing.set()
        if self.process is not None:
            self.process.kill()
        self.thread.join()

    def _listen(self) -> None:
        """Read the app's log, and begin again if it ends."""
        log = [self.adb, "logcat", "-v", "raw", "-T", "1", "-s", f"{TAG}:I"]
        pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        while not self.closing.wait(0.2):
            with subprocess.Popen(log, text=True, errors="replace", **pipes) as self.process:
                last_time = -math.inf  # the log begins with an old line
                for line in self.process.stdout or ():
                    pose, now = parse(line), time.monotonic()
                    if self.closing.is_set():
                        self.process.kill()
                    elif pose is not None:
                        self._update(pose, now, now - last_time < MAX_POSE_AGE)
                        last_time = now

    def _update(self, pose: Pose, now: float, flowing: bool) -> None:
        """Keep a pose, unless it may be an old one; after a gap the clutch counts as closed anew."""
        # the clutch
        was_closed = self.closed and flowing
        self.closed = pose.grip > (GRIP_OPENS if was_closed else GRIP_CLOSES)
        if self.closed and not was_closed:
            self.clutch += 1
        if not flowing:
            return

        # the hand, seen from the arm
        right, up, backward = pose.position
        forward, left = -backward, -right
        ahead = forward * math.cos(self.turn) + left * math.sin(self.turn)
        beside = left * math.cos(self.turn) - forward * math.sin(self.turn)
        hand = (ahead, beside, up) if self.closed else None

        pressed = frozenset(name for button, name in BUTTONS.items() if button in pose.pressed)
        self.newest = Controls(pressed, hand=hand, clutch=self.clutch), now
        self.has_pose.set()


def parse(line: str) -> Pose | None:
    """Return the pose in a line of the log, None if there is none.

    Args:
        line: Line of the log: `l:` and 16 numbers, the pose's matrix row by row, `|r:` and 16 more, `&` and names of
            buttons with their values, separated by commas.
    """
    match = RIGHT_POSE.search(line)
    if match is None:
        return None

    # numbers, and buttons with or without values
    grip, pressed = None, set()
    try:
        numbers = [float(number) for number in match[1].split()]
        for entry in line.partition("&")[2].split(","):
            words = entry.split()
            if len(words) == 1:
                pressed.add(words[0])
            elif len(words) == 2 and words[0] == "rightGrip" and grip is None:
                grip = float(words[1])
    except ValueError:
        return None

    if grip is None:
        grip = 0.0
    if not all(map(math.isfinite, (*numbers, grip))):
        return None
    return Pose((numbers[3], numbers[7], numbers[11]), frozenset(pressed), grip)
