"""Meta-World's tasks with true world states, as in Sec. V of the paper."""

import copy
import difflib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

STACKED_STEPS = 4  # in an observation, Sec. V
NUMBERS_PER_STEP = 39  # of the suite's observation

# The suite's own conditions on distances (m) for the paper's three tasks. The suite computes them only together with
# its shaped reward, which takes a fifth of the time of a step.
SUCCESS_CONDITIONS = {
    "button-press-v3": lambda env, state: abs(env._target_pos[1] - state[5]) <= 0.02,
    "drawer-open-v3": lambda env, state: np.linalg.norm(state[4:7] - env._target_pos) <= 0.03,
    "peg-insert-side-v3": lambda env, state: (
        np.linalg.norm((env._get_site_pos("pegHead") - env._target_pos) * (1.0, 2.0, 2.0)) <= 0.07
    ),
}


class MetaWorld(gym.Env):
    """One task of Meta-World that ends on success or after 500 steps, the suite's limit.

    An observation is four time steps, oldest first, of the suite's 39 numbers: hand position (0:3, m), gripper opening
    (3), object positions (m) and quaternions (4:18), the same of the step before (18:36), goal position (36:39, m). At
    the start all four are copies of the first step. An action is (dx, dy, dz, gripper) in [−1, 1]; the hand points
    down. The positions of the goal and of the objects are drawn at each reset from its seed, over the suite's own
    ranges.

    Args:
        task: Name of the task in the suite, such as "drawer-open-v3".
        shaped_reward: Compute the suite's shaped reward; otherwise the reward is 1 for success and 0 elsewhere.
        max_episode_steps: Number of steps after which an episode is truncated.
        render_mode: "rgb_array" for pictures; None: nothing is rendered.
        camera: Name of one of the suite's cameras.
        width: Width of a picture, pixels.
        height: Height of a picture, pixels.

    Raises:
        ValueError: The suite has no such task.
        ModuleNotFoundError: Meta-World is not installed.
    """

    metric = "success"

    def __init__(
        self,
        task: str,
        shaped_reward: bool = False,
        max_episode_steps: int = 500,
        render_mode: str | None = None,
        camera: str = "corner2",
        width: int = 320,
        height: int = 240,
    ) -> None:
        tasks = task_classes()
        if task not in tasks:
            similar = difflib.get_close_matches(task, tasks, n=3, cutoff=0.4)
            raise ValueError(f"Meta-World has no task '{task}'; similar: {', '.join(similar) or ', '.join(tasks)}")

        # options
        if render_mode is not None and sys.platform == "linux":
            os.environ.setdefault("MUJOCO_GL", "egl")
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 80}
        self.task = task
        self.render_mode = render_mode
        self.upside_down = camera.startswith("corner")
        self.shaped_reward = shaped_reward

        # the suite's environment
        self.env = _compiled_once(tasks[task])(render_mode=render_mode, camera_name=camera, width=width, height=height)
        self.env.max_path_length = self.max_episode_steps = max_episode_steps
        self.env._partially_observable = False  # the goal is part of the true state
        del self.env.sawyer_observation_space  # cached from when the goal was none; it clips
        self.env._set_task_called = True  # goals are drawn from each episode's seed, not from a list of 50
        self.env.seeded_rand_vec = True
        if task in SUCCESS_CONDITIONS and not shaped_reward:
            self.env.evaluate_state = self._success_alone
        if task == "peg-insert-side-v3":
            self.env._get_quat_objects = self._peg_quaternion

        # spaces
        self.stack = np.zeros(STACKED_STEPS * NUMBERS_PER_STEP, np.float32)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, self.stack.shape, np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (4,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[NDArray[np.float32], dict]:
        """Draw goal and object positions from the seed."""
        super().reset(seed=seed)
        self.env.seed(int(self.np_random.integers(2**31)))
        self.env._freeze_rand_vec = False
        self.env.reset_model()  # draws goal and object positions
        self.env._freeze_rand_vec = True  # positions drawn again, in reset(), would enter the observation a step late
        state, _ = self.env.reset()
        self.stack = np.tile(state.astype(np.float32), STACKED_STEPS)
        return self.stack, {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, bool]]:
        """Move the hand and the gripper for one step of the suite, 1/80 s."""
        state, reward, _, truncated, info = self.env.step(action)
        success = bool(info["success"])
        self.stack = np.concatenate([self.stack[NUMBERS_PER_STEP:], state.astype(np.float32)])
        return self.stack, float(reward if self.shaped_reward else success), success, truncated, {"success": success}

    def _success_alone(self, state: NDArray[np.float64], action: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        """Return no reward, and success; in the place of the suite's `evaluate_state`."""
        return 0.0, {"success": SUCCESS_CONDITIONS[self.task](self.env, state)}

    def _peg_quaternion(self) -> NDArray[np.float64]:
        """Return the peg's orientation, `[4]` (x, y, z, w); in the place of the suite's `_get_quat_objects`.

        That one makes sure that MuJoCo's matrix is a rotation, which takes a quarter of the time of a step.
        """
        matrix = self.env.data.site("pegGrasp").xmat.reshape(3, 3)
        return Rotation.from_matrix(matrix, assume_valid=True).as_quat()

    def render(self) -> NDArray[np.uint8]:
        """Return a picture, `[height, width, 3]`.

        Raises:
            RuntimeError: There is no offscreen renderer.
        """
        try:
            frame = self.env.render()
        except Exception as error:  # each OpenGL backend raises classes of its own
            raise RuntimeError(
                f"MuJoCo cannot render offscreen with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}); "
                "install libegl1 and libgl1-mesa-dri (egl) or libosmesa6 (MUJOCO_GL=osmesa)"
            ) from None
        return frame[::-1, ::-1] if self.upside_down else frame

    def scripted(self) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], int]:
        """Return the suite's policy of this task; see `scripted_policy`."""
        return scripted_policy(self.task)

    def close(self) -> None:
        """Free the renderer."""
        self.env.close()


def task_classes() -> dict[str, Any]:
    """Return the suite's environment classes by the name of their task."""
    with _explained_import_errors():
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
    return ALL_V3_ENVIRONMENTS


@cache
def _compiled_once(task_class: Any) -> Any:
    """Return a class whose environments share one compilation of the task's model.

    The compilation takes most of the time in which an environment is made.
    """
    with _explained_import_errors():
        import mujoco
    compiled: dict[tuple[int, int], Any] = {}  # by size of pictures, pixels

    class Task(task_class):
        def _initialize_simulation(self) -> tuple[Any, Any]:
            size = self.width, self.height
            if size not in compiled:
                compiled[size], _ = super()._initialize_simulation()
            model = copy.copy(compiled[size])  # each environment moves the goal in its own model
            return model, mujoco.MjData(model)

    return Task


def scripted_policy(task: str) -> tuple[Callable[[NDArray[np.float64]], NDArray[Any]], int]:
    """Return the suite's scripted policy of a task, a function of the numbers of one step, and how many these are."""
    with _explained_import_errors():
        from metaworld.policies import ENV_POLICY_MAP
    return ENV_POLICY_MAP[task]().get_action, NUMBERS_PER_STEP


@contextmanager
def _explained_import_errors() -> Iterator[None]:
    """Turn errors of importing Meta-World and MuJoCo into messages that say what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"Meta-World is not installed ({error}); pip install '.[metaworld]' in the checkout's folder"
        raise ModuleNotFoundError(message) from None
    except Exception as error:  # MuJoCo imports the renderer of MUJOCO_GL, each of which raises its own classes
        chosen = os.environ.get("MUJOCO_GL", "")
        raise ValueError(
            f"MuJoCo cannot be imported with MUJOCO_GL={chosen} ({error}); install libegl1 and libgl1-mesa-dri for egl "
            "or libosmesa6 for osmesa, and set MUJOCO_GL to the one that is installed"
        ) from None
