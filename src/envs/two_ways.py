"""Past an obstacle that stands in the way: to its left, or to its right, and never straight on."""

from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

STRIDE, RISE = 0.5, 0.3  # of a step: across, of a full action, and up, always
RADIUS = 0.3  # of the obstacle, which stands at the origin
LOWEST, HIGHEST, GOAL = -0.7, -0.5, 1.0  # heights of the first place, and of the goal
CLEAR = 0.45  # distance from the middle from which a guide no longer moves across
WALL = 1.5  # distance from the middle that nothing passes
PICTURE = 128  # pixels, both ways

Guide = Literal["careful", "blind"]


class TwoWays(gym.Env):
    """A point rises in a plane, past a round obstacle between its start and its goal.

    Its steps are few and long, so that what is done in the first one decides. Action: how far across, in [−1, 1].
    Observation: where the point is, across and up. An episode begins below the obstacle. It is a success above it, and
    ends without one at the obstacle. The reward is 1 for a success.

    Who shows the task decides in every episode anew on which side to pass: what they do has two modes.

    Args:
        max_episode_steps: Number of steps after which an episode is truncated; a whole one has 6.
        guide: Who demonstrates: "careful", or "blind", who does not see the obstacle.
        reach: Largest distance from the middle at which an episode begins.
        render_mode: Mode of rendering: "rgb_array".
    """

    metric = "success"
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(
        self,
        max_episode_steps: int = 10,
        guide: Guide = "careful",
        reach: float = 0.15,
        render_mode: str | None = None,
    ) -> None:
        self.max_episode_steps = max_episode_steps
        self.guide: Guide = guide
        self.reach = reach
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.reports = {"state": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)}
        self.place, self.side, self.steps = np.zeros(2), 1.0, 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[NDArray[np.float32], dict]:
        """Put the point below the obstacle, and let the guide choose a side."""
        super().reset(seed=seed)
        across, up = self.np_random.uniform([-self.reach, LOWEST], [self.reach, HIGHEST])
        self.place = np.array([across, up])
        self.steps = 0
        self.side = float(self.np_random.choice([-1.0, 1.0]))
        return self._observation(), self._report()

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict]:
        """Move for one step."""
        before = self.place
        across = before[0] + STRIDE * float(np.clip(action, -1, 1)[0])
        self.place = np.array([np.clip(across, -WALL, WALL), before[1] + RISE])
        self.steps += 1
        hit = _nearest(before, self.place) <= RADIUS
        success = bool(self.place[1] >= GOAL) and not hit
        truncated = self.steps >= self.max_episode_steps and not (success or hit)
        return self._observation(), float(success), success or hit, truncated, self._report(success)

    def render(self) -> NDArray[np.uint8]:
        """Return a picture from above, `[128, 128, 3]`: the obstacle grey, the point blue, the goal green."""
        line = np.linspace(-WALL, WALL, PICTURE)
        across, up = np.meshgrid(line, line[::-1])
        picture = np.full((PICTURE, PICTURE, 3), 255, np.uint8)
        picture[up >= GOAL] = (190, 230, 190)
        picture[np.hypot(across, up) <= RADIUS] = 120
        picture[np.hypot(across - self.place[0], up - self.place[1]) <= 0.06] = (30, 80, 220)
        return picture

    def scripted(self) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], int]:
        """Return the guide, who acts on a state, and how many numbers a state has."""
        return (around if self.guide == "careful" else straight_on), 3

    def _observation(self) -> NDArray[np.float32]:
        return self.place.astype(np.float32)

    def _report(self, success: bool = False) -> dict[str, Any]:
        """Return what is known besides: the state is where the point is, and the side that the guide chose."""
        return {"success": success, "state": np.array([*self.place, self.side], np.float32)}


def around(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far across a guide moves who passes the obstacle on the side of their choice, `[1]`.

    Args:
        state: Where the point is, across and up, and the side: −1 or 1.
    """
    across, up, side = state
    if up < RADIUS and abs(across) < CLEAR:
        return np.array([side])
    return np.zeros(1)


def straight_on(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far across a guide moves who does not see the obstacle, `[1]`: not at all."""
    return np.zeros(1)


def _nearest(start: NDArray[np.float64], end: NDArray[np.float64]) -> float:
    """Return the distance of a line's nearest point from the origin."""
    way = end - start
    share = np.clip(-(start @ way) / max(way @ way, 1e-12), 0, 1)
    return float(np.linalg.norm(start + share * way))


gym.register("TwoWays-v0", "mile.envs.two_ways:TwoWays")
