"""An arm on a desk as a Gymnasium environment, for `mile.envs.make_env("widowx_peg")`."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mile.envs.frames import FRAME_BYTES, compress
from mile.hardware.interfaces import Camera, Robot
from mile.hardware.safety import SafetyError

STACKED = 4  # time steps in an observation, App. D
WIDTH = 6  # numbers in a time step
STALE = 0.5  # s, of a picture; a webcam takes at least ten a second
ALIGNED = 0.004  # m, beside the hole's middle, from where the scripted policy goes down
ABOVE = 0.13  # m, where it moves sideways


class Bench(Protocol):
    """An arm and what is around it.

    Attributes:
        robot: the arm.
        camera: looks at it.
    """

    robot: Robot
    camera: Camera

    def prepare(self, seed: int) -> None:
        """Set the task up; the robot is where episodes begin."""
        ...

    def box(self) -> NDArray[np.float64]:
        """Return where the box is, `[2]`, m; NaN if nobody knows."""
        ...

    def success(self) -> bool:
        """Return whether the task is solved, as far as that is known."""
        ...

    def close(self) -> None:
        """Bring the arm to rest."""
        ...


class RobotEnv(gym.Env):
    """The peg insertion of Sec. VI: the robot begins with the block in its gripper.

    An observation is four time steps, oldest first, of the hand's position (0:3, m), the gripper's opening (3), and the
    box's position (4:6, m); with an encoder, of the picture's embedding and then the hand's position, and the numbers
    are reported as `state`. An action is (dx, dy, dz, gripper) in [−1, 1], in steps of the robot's limits; what was
    sent instead, after clipping, is reported as `executed_action`. The reward is 1 for success.

    Nothing is connected before the first reset.

    Args:
        bench: makes the arm and what is around it.
        encoder: makes what turns a picture into numbers; None: where the box is must be known.
        embedding: how many numbers it makes.
        frames: report each picture, compressed, as `frame`.
        max_episode_steps: end after so many.
        render_mode: "rgb_array" for pictures.

    Raises:
        ValueError: there is no bench.
    """

    metric = "success"
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(
        self,
        bench: Callable[[], Bench] | None,
        encoder: Callable[[], Callable[[NDArray[np.uint8]], NDArray[np.float32]]] | None = None,
        embedding: int = 2048,
        frames: bool = False,
        max_episode_steps: int = 60,
        render_mode: str | None = None,
    ) -> None:
        if bench is None:
            raise ValueError("a robot needs a desk; choose hardware=simulated or hardware=widowx")
        self.make, self.bench = bench, None
        self.encoder = encoder and encoder()
        self.frames = frames
        width = WIDTH if encoder is None else embedding + 3
        self.max_episode_steps, self.render_mode = max_episode_steps, render_mode
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (STACKED * width,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (4,), np.float32)
        self.reports: dict[str, gym.spaces.Box] = {"executed_action": self.action_space}
        if encoder is not None:
            self.reports["state"] = gym.spaces.Box(-np.inf, np.inf, (STACKED * WIDTH,), np.float32)
        if frames:
            self.reports["frame"] = gym.spaces.Box(0, 255, (FRAME_BYTES,), np.uint8)
        self.numbers: deque[NDArray[np.float32]] = deque(maxlen=STACKED)
        self.embeddings: deque[NDArray[np.float32]] = deque(maxlen=STACKED)
        self.steps = 0
        self.frame: NDArray[np.uint8] | None = None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[NDArray[np.float32], dict]:
        """Move to where episodes begin, and set the task up."""
        super().reset(seed=seed)
        if self.bench is None:
            self.bench = self.make()
            self.bench.robot.connect()
        else:
            self.bench.robot.reset()
        self.bench.prepare(0 if seed is None else seed)
        self.steps = 0
        self._look()
        for history in (self.numbers, self.embeddings):
            history.extend(list(history)[-1:] * STACKED)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict]:
        """Move, and wait until the step's time is over."""
        assert self.bench is not None, "reset comes first"
        sent = self.bench.robot.send_action(np.asarray(action, np.float32))
        self.steps += 1
        self._look()
        success = self.bench.success()
        truncated = not success and self.steps >= self.max_episode_steps
        info = {"success": success, "executed_action": sent, **self._info()}
        return self._observation(), float(success), success, truncated, info

    def render(self) -> Any:
        """Return the camera's picture, `[height, width, 3]`."""
        assert self.bench is not None, "reset comes first"
        return self.bench.camera.read()[0]

    def close(self) -> None:
        """Bring the arm to rest."""
        if self.bench is not None:
            self.bench.close()
            self.bench = None

    def scripted(self) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], int]:
        """Return a policy from the newest time step's numbers, and how many these are."""
        return insert, WIDTH

    def _look(self) -> None:
        """Measure, and take a picture if one is wanted.

        Raises:
            SafetyError: the camera stands still.
        """
        assert self.bench is not None
        state = self.bench.robot.observe()
        self.numbers.append(np.array([*state.position, state.gripper, *self.bench.box()], np.float32))
        if self.encoder is None and not self.frames:
            return
        picture, taken = self.bench.camera.read()
        if (age := state.time - taken) > STALE:
            self.bench.robot.hold()
            raise SafetyError(
                f"the camera's newest picture is {age:.1f} s old: the arm holds; plug the camera in anew, mile-doctor"
            )
        if self.encoder is not None:
            self.embeddings.append(np.concatenate([self.encoder(picture), state.position], dtype=np.float32))
        if self.frames:
            self.frame = compress(picture)

    def _observation(self) -> NDArray[np.float32]:
        return np.concatenate(self.numbers if self.encoder is None else self.embeddings)

    def _info(self) -> dict[str, Any]:
        return {"state": np.concatenate(self.numbers), "frame": self.frame}


def insert(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the action that brings the block above the hole, and then down; gripper closed.

    Args:
        state: one time step of an observation, `[6]`.
    """
    aside = state[4:6] - state[:2]
    down = -0.02 if np.abs(aside).max() < ALIGNED else np.clip(ABOVE - state[2], 0, 0.02)
    return np.array([*(aside / 0.02), down / 0.02, 1.0]).clip(-1, 1)


gym.register("WidowXPeg-v0", "mile.hardware.robot_env:RobotEnv")
