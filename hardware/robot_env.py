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

TIME_STEPS = 4  # in an observation, App. D
NUMBERS_PER_STEP = 6
MAX_PICTURE_AGE = 0.5  # s; a webcam takes at least ten a second
ALIGNED_WITHIN = 0.004  # m beside the hole's middle, from where the scripted policy moves down
TRAVEL_HEIGHT = 0.13  # m, where it moves sideways


class Bench(Protocol):
    """An arm and its surroundings.

    Attributes:
        robot: The arm.
        camera: A camera that looks at the arm.

    A bench on which no arm moves has the class attribute `real = False`; on any other one a simulated human is refused.
    """

    robot: Robot
    camera: Camera

    def prepare(self, seed: int) -> None:
        """Set the task up; the robot is where episodes begin."""
        ...

    def box(self) -> NDArray[np.float64]:
        """Return the position of the box, `[2]`, m; NaN if nobody knows."""
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
    are reported as `state`. An action is (dx, dy, dz, gripper) in [−1, 1], in steps of the robot's limits; the action
    that was sent instead, after clipping, is reported as `executed_action`. The reward is 1 for success.

    Nothing is connected before the first reset.

    Args:
        bench: Function that makes the arm and its surroundings.
        encoder: Function that makes the encoder, which turns a picture into an embedding; None: the position of the
            box must be known.
        embedding: Number of entries of the embedding.
        frames: Report each picture, compressed, as `frame`.
        max_episode_steps: Number of steps after which an episode is truncated.
        render_mode: Mode of rendering: "rgb_array" for pictures.

    Raises:
        ValueError: There is no bench.
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
        self.encoder = None if encoder is None else encoder()
        self.frames = frames
        self.max_episode_steps, self.render_mode = max_episode_steps, render_mode

        # spaces
        width = NUMBERS_PER_STEP if encoder is None else embedding + 3
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (TIME_STEPS * width,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (4,), np.float32)
        self.reports: dict[str, gym.spaces.Box] = {"executed_action": self.action_space}
        if encoder is not None:
            self.reports["state"] = gym.spaces.Box(-np.inf, np.inf, (TIME_STEPS * NUMBERS_PER_STEP,), np.float32)
        if frames:
            self.reports["frame"] = gym.spaces.Box(0, 255, (FRAME_BYTES,), np.uint8)

        # the last time steps
        self.numbers: deque[NDArray[np.float32]] = deque(maxlen=TIME_STEPS)
        self.embeddings: deque[NDArray[np.float32]] = deque(maxlen=TIME_STEPS)
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

        # the first measurement stands for the time steps before it
        self.steps = 0
        self._measure()
        for history in (self.numbers, self.embeddings):
            history.extend(list(history)[-1:] * TIME_STEPS)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict]:
        """Move, and wait until the step's time is over."""
        assert self.bench is not None, "reset comes first"
        executed_action = self.bench.robot.send_action(np.asarray(action, np.float32))
        self.steps += 1
        self._measure()

        success = self.bench.success()
        truncated = not success and self.steps >= self.max_episode_steps
        info = {"success": success, "executed_action": executed_action, **self._info()}
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
        """Return a policy that acts on the newest time step's numbers, and how many numbers these are."""
        return insert, NUMBERS_PER_STEP

    def _measure(self) -> None:
        """Measure the arm's state, and take a picture if one is used.

        Raises:
            SafetyError: The camera has stopped taking pictures.
        """
        assert self.bench is not None
        state = self.bench.robot.observe()
        self.numbers.append(np.array([*state.position, state.gripper, *self.bench.box()], np.float32))
        if self.encoder is None and not self.frames:
            return

        # a picture that is new enough
        picture, picture_time = self.bench.camera.read()
        age = state.time - picture_time
        if age > MAX_PICTURE_AGE:
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
    """Return the action that moves the block above the hole, and then down; gripper closed.

    Args:
        state: One time step of an observation, `[6]`.
    """
    sideways = state[4:6] - state[:2]
    aligned = np.abs(sideways).max() < ALIGNED_WITHIN
    upward = -0.02 if aligned else np.clip(TRAVEL_HEIGHT - state[2], 0, 0.02)
    return np.array([*(sideways / 0.02), upward / 0.02, 1.0]).clip(-1, 1)


gym.register("WidowXPeg-v0", "mile.hardware.robot_env:RobotEnv")
