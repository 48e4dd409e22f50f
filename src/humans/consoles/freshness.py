"""How old the picture in front of a person is, and what counts of their controls while it is too old."""

import math
import statistics
from collections import deque

from mile.humans.controls import TAKE_OVER, Controls

KEPT = 500  # pictures whose time is remembered
OLD, OLD_INTERVALS = 0.5, 3  # s, and usual intervals between pictures: whichever is longer, such a picture is too old


class Pictures:
    """When pictures were made, by their numbers, from 1 on."""

    def __init__(self) -> None:
        self.count = 0
        self.made: dict[int, float] = {}  # s, of the newest ones
        self.intervals: deque[float] = deque(maxlen=20)  # s, between pictures of a robot that moves
        self.moved = False

    def add(self, now: float, moves: bool) -> int:
        """Note that one more picture is made, at a time in s, `moves` while an episode is played; return its number."""
        if moves and self.moved:
            self.intervals.append(now - self.made[self.count])
        self.count += 1
        self.moved = moves
        self.made[self.count] = now
        self.made.pop(self.count - KEPT, None)
        return self.count

    def age(self, number: int | None, now: float) -> float:
        """Return how long ago a picture was made, s; 0 before the first one, infinity if that is long ago."""
        if not self.made:
            return 0.0
        return now - self.made[number] if number in self.made else math.inf

    def limit(self) -> float:
        """Return the age from which on a picture is too old, s."""
        usual = statistics.median(self.intervals) if self.intervals else 0.0
        return max(OLD, OLD_INTERVALS * usual)


def no_more_than(before: Controls, now: Controls) -> Controls:
    """Return controls without movements that were not made before; taking over counts, and so does releasing."""
    pressed = now.pressed & (before.pressed | frozenset(TAKE_OVER))
    axes = []
    for number, value in enumerate(now.axes):
        held = before.axes[number] if number < len(before.axes) else 0.0
        axes.append(min(max(value, min(held, 0.0)), max(held, 0.0)))
    return Controls(pressed, tuple(axes))
