"""Driving along a part of a track, from pictures: Gymnasium's CarRacing with a task that ends."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.envs.box2d.car_racing import CarRacing
from numpy.typing import NDArray

FRAMES_PER_STEP = 2  # at 50 Hz: a person decides 25 times a second
TILE = 3.5  # m, length of a tile of the track
LEFT_TRACK = 9.0  # m from the centre line, where the road is 13 m wide
POINTS, POINT_DISTANCE = 12, 2  # of the line ahead, and tiles between them
MOTION = 5  # numbers of a state before the points
GAS, BRAKE = 0.5, 0.8  # of the pedals' full travel
BRAKING = 12.0  # m/s², that drivers count on

Driver = Literal["careful", "careless"]


class Driving(gym.Env):
    """Drives a car along the first tiles of a random track.

    The action is steering (right: 1) and pedals (gas: above 0, brake: below), each in [−1, 1]. The observation is a
    picture, [96, 96, 3]; the state, which it reports, is what `line_follower` drives by. The reward is what was driven
    of the way, %; each tile counts once. An episode is a success at the last tile, and ends without one where
    the car has left the track or time is up.

    Args:
        tiles: Number of tiles to drive; a whole track has some 280.
        max_episode_steps: Number of steps after which an episode is truncated.
        driver: Who demonstrates the task; see `line_follower`.
        render_mode: Mode of rendering: "rgb_array" for large pictures.
    """

    metric = "success"
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(
        self,
        tiles: int = 120,
        max_episode_steps: int = 400,
        driver: Driver = "careful",
        render_mode: str | None = None,
    ) -> None:
        self.tiles = tiles
        self.max_episode_steps = max_episode_steps
        self.driver: Driver = driver
        self.render_mode = render_mode
        self.car = _Car(render_mode=render_mode)
        self.observation_space = self.car.observation_space
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.reports = {"state": gym.spaces.Box(-np.inf, np.inf, (MOTION + 2 * POINTS,), np.float32)}
        self.steps = self.reached = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[NDArray[np.uint8], dict]:
        """Make a track from the seed, with the car at its start."""
        super().reset(seed=seed)
        self.steps = self.reached = 0
        self.car.reset(seed=int(self.np_random.integers(2**31)))
        picture = self.car.near()
        return picture, {"state": self._state()}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.uint8], float, bool, bool, dict]:
        """Drive for 1/25 s."""
        steering, pedals = (float(part) for part in action)
        command = np.array([steering, GAS * max(pedals, 0.0), BRAKE * max(-pedals, 0.0)])
        for frame in range(FRAMES_PER_STEP):
            self.car.is_drawn = frame == FRAMES_PER_STEP - 1
            self.car.step(command)
        picture: Any = self.car.state
        self.steps += 1

        # what was driven of the way
        before, (tile, distance) = self.reached, self.car.place()
        if tile - before < self.tiles:  # not backwards, over the start
            self.reached = min(max(before, tile), self.tiles)
        success = self.reached == self.tiles
        left = not success and distance > LEFT_TRACK
        truncated = not success and not left and self.steps >= self.max_episode_steps
        reward = 100 * (self.reached - before) / self.tiles
        return picture, reward, success or left, truncated, {"success": success, "state": self._state()}

    def render(self) -> Any:
        """Return a large picture, `[height, width, 3]`."""
        return self.car.render()

    def close(self) -> None:
        """Free the pictures."""
        self.car.close()

    def scripted(self) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], int]:
        """Return a driver who acts on a state, and how many numbers a state has."""
        return partial(line_follower, driver=self.driver), MOTION + 2 * POINTS

    def _state(self) -> NDArray[np.float32]:
        return self.car.situation(POINTS, POINT_DISTANCE)


class _Car(CarRacing):
    """Gymnasium's environment, which draws only where it is asked to, and tells where the car is."""

    is_drawn = True

    def _render(self, mode: str) -> Any:
        if mode == "state_pixels" and not self.is_drawn:
            return self.state
        return super()._render(mode)

    def near(self) -> NDArray[np.uint8]:
        """Look from near from now on, without the slow approach of an episode's first second, and return a picture."""
        self.t = max(self.t, 1.0)
        self.state = super()._render("state_pixels")
        return self.state  # pyright: ignore

    def place(self) -> tuple[int, float]:
        """Return the number of the nearest tile, and the distance from the centre line, m."""
        position = np.array(self.car.hull.position)  # pyright: ignore
        distances = np.linalg.norm(self._line() - position, axis=-1)
        return int(distances.argmin()), float(distances.min())

    def situation(self, points: int, distance: int) -> NDArray[np.float32]:
        """Return how the car moves, and points of the centre line ahead of it.

        Returns:
            Speeds ahead and to the right, 10 m/s; turn to the left, rad/s; angle of the wheels, rad; distance from the
            centre line, 10 m; then of each point how far it lies ahead and to the right, 10 m.
        """
        hull: Any = self.car.hull  # pyright: ignore
        ahead = np.array(hull.GetWorldVector((0, 1)))
        right = np.array(hull.GetWorldVector((1, 0)))
        velocity = np.array(hull.linearVelocity)
        tile, away = self.place()

        numbers = tile + 1 + distance * np.arange(points)
        line = self._line()
        there = line[numbers % len(line)] - np.array(hull.position)
        motion = [velocity @ ahead / 10, velocity @ right / 10, hull.angularVelocity]
        angle = self.car.wheels[0].joint.angle  # pyright: ignore
        view = np.stack([there @ ahead, there @ right], -1).ravel() / 10
        return np.array([*motion, angle, away / 10, *view], np.float32)

    def _line(self) -> NDArray[np.float64]:
        """Return the centre line, a point for each tile, `[tiles, 2]`, m."""
        if self._known is not self.track:
            self._known, self._points = self.track, np.array([tile[2:] for tile in self.track])
        return self._points

    _known: Any = None
    _points: Any = None


def line_follower(state: NDArray[np.float64], driver: Driver = "careful") -> NDArray[np.float64]:
    """Return steering and pedals of a driver who follows the line: towards a point ahead, at a speed for the bends.

    A careless driver takes bends too fast, and brakes late for them.

    Args:
        state: State, `[29]`, as `Driving` reports it.
        driver: "careful" or "careless".

    Source: Coulter, "Implementation of the pure pursuit path tracking algorithm", 1992.
    """
    speed, points = 10 * state[0], 10 * state[MOTION:].reshape(POINTS, 2)

    # towards a point ahead
    aim = points[min(1 + int(speed / 15), POINTS - 1)]
    steering = 1.5 * math.atan2(aim[1], aim[0])

    # at the speed that the sharpest bend ahead allows
    sight, grip, fastest = (POINTS - 1, 35.0, 65.0) if driver == "careful" else (4, 130.0, 70.0)
    headings = np.arctan2(*np.diff(points[: sight + 1], axis=0).T[::-1])
    bends = np.abs((np.diff(headings) + np.pi) % (2 * np.pi) - np.pi) / (POINT_DISTANCE * TILE)  # 1/m
    distances = POINT_DISTANCE * TILE * np.arange(1, len(bends) + 1)
    allowed = np.sqrt(grip / np.maximum(bends, 1e-3) + 2 * BRAKING * distances).min()
    pedals = (min(allowed, fastest) - speed) / 8
    return np.array([steering, pedals]).clip(-1, 1)


gym.register("Driving-v0", "mile.envs.driving:Driving")
