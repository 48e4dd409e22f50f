"""A desk with an arm, a box and a camera that are not there; the arm is driven through its real driver."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.hardware.dynamixel import INSTALL, PRESENT_POSITION
from mile.hardware.simulated.scene import BLOCK, BOX, HOLE, scene
from mile.hardware.simulated.servo import SHUT
from mile.hardware.simulated.widowx import simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import ARM, CENTRE, GRIPPER, GRIPPER_RAW, SLEEP, TURN, angles_of

DEEP = 0.02  # m below the rim, from where the block counts as inserted
SPREAD = 0.04  # m, of the box's place in each direction


class SimulatedBench:
    """A WidowX with a block in its gripper, and a box somewhere on the table.

    Args:
        rate: of control steps, Hz.
        fault: see `mile.hardware.simulated.widowx`; also "frozen_camera".

    Attributes:
        robot: the real driver, on a simulated bus.
        camera: takes pictures of the scene.

    Raises:
        ConnectionError: this is not Linux.
        ValueError: MuJoCo does not come up with what `MUJOCO_GL` names.
        ModuleNotFoundError: MuJoCo is not installed.
    """

    def __init__(self, rate: float = 5.0, fault: str | None = None) -> None:
        self._mujoco = mujoco = import_mujoco()
        self.model = mujoco.MjModel.from_xml_string(scene())
        self.data = mujoco.MjData(self.model)
        self.joints = [self.model.joint(str(number)).qposadr[0] for number in ARM]
        self.block = self.model.joint("block").qposadr[0]
        self.data.qpos[self.joints] = SLEEP
        self.bus = simulated_widowx(self.move, None if fault == "frozen_camera" else fault)
        self.robot = WidowX(self.bus.port, rate, clock=self.bus)
        self.camera = SimulatedCamera(self, frozen=fault == "frozen_camera")

    def move(self, wanted: dict[int, float], period: float) -> tuple[Mapping[int, float], Mapping[int, int]]:
        """Drive the shafts, and return where they are; see `SimulatedBus`."""
        self.data.ctrl[:] = angles_of([wanted[number] for number in ARM])
        if wanted[GRIPPER] > np.mean(GRIPPER_RAW):  # what is let go of falls
            self.data.eq_active[0] = False
        for _ in range(max(1, round(period / self.model.opt.timestep))):
            self._mujoco.mj_step(self.model, self.data)
        raw = self.data.qpos[self.joints] * TURN / (2 * np.pi) + CENTRE
        found = dict(zip(ARM, raw, strict=True)) | {3: raw[1], 5: raw[2], GRIPPER: wanted[GRIPPER]}
        loads = self.data.actuator_force * 100
        return found, {number: int(load) for number, load in zip(ARM, loads, strict=True)}

    def prepare(self, seed: int) -> None:
        """Put the box somewhere, and the block into the gripper, which must be at rest."""
        place = HOLE + np.random.default_rng(seed).uniform(-SPREAD, SPREAD, 2)
        self.data.mocap_pos[0] = [*place, 0]
        self._mujoco.mj_forward(self.model, self.data)
        hand, turn = self.data.site("hand").xpos, self.data.site("hand").xmat.reshape(3, 3)
        held = self.model.site("held")
        rotation = turn @ _matrix(held.quat).T
        self.data.qpos[self.block : self.block + 3] = hand - rotation @ held.pos
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, rotation.flatten())
        self.data.qpos[self.block + 3 : self.block + 7] = quaternion
        self.data.qvel[:] = 0
        self.data.eq_active[0] = True
        self.bus.servos[GRIPPER].put(PRESENT_POSITION, SHUT)
        self._mujoco.mj_forward(self.model, self.data)

    def box(self) -> NDArray[np.float64]:
        """Return where the box is, `[2]`, m."""
        return self.data.mocap_pos[0][:2].copy()

    def success(self) -> bool:
        """Return whether the block is in the hole."""
        bottom = self.data.body("block").xpos - [0, 0, BLOCK / 2]
        off = np.abs(bottom[:2] - self.data.mocap_pos[0][:2]).max()
        return bool(off < 0.01 and bottom[2] < BOX - DEEP)

    def close(self) -> None:
        """Let the arm go to rest, and take everything away."""
        self.robot.close()
        self.camera.close()
        self.bus.close()


class SimulatedCamera:
    """Takes pictures of a bench; see `mile.hardware.interfaces.Camera`."""

    def __init__(self, bench: SimulatedBench, frozen: bool = False) -> None:
        self.bench, self.frozen = bench, frozen
        self.renderer: Any = None
        self.last: tuple[NDArray[np.uint8], float] | None = None

    def read(self) -> tuple[NDArray[np.uint8], float]:
        """Return a picture `[224, 224, 3]` and its time; see `Camera`.

        Raises:
            RuntimeError: there is no offscreen renderer.
        """
        if self.renderer is None:
            mujoco = import_mujoco()
            os.environ.setdefault("MUJOCO_GL", "egl")
            try:
                importlib.reload(mujoco.gl_context)  # which was imported, and chose, before
                self.renderer = mujoco.Renderer(self.bench.model, 224, 224)
            except Exception as error:  # each OpenGL backend has errors of its own
                raise RuntimeError(f"MuJoCo cannot render offscreen {_backend(error)}") from None
        if self.last is None or not self.frozen:
            self.renderer.update_scene(self.bench.data, "webcam")
            self.last = self.renderer.render(), self.bench.bus.now()
        return self.last

    def close(self) -> None:
        """Let go of the renderer."""
        if self.renderer is not None:
            self.renderer.close()
            self.renderer = None


def import_mujoco() -> Any:
    """Return MuJoCo, which loads what `MUJOCO_GL` names as soon as it is imported.

    Raises:
        ValueError: That is not there.
        ModuleNotFoundError: MuJoCo is not installed.
    """
    try:
        import mujoco
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the simulated arm needs MuJoCo ({error}); {INSTALL}") from None
    except Exception as error:  # each OpenGL backend has errors of its own
        raise ValueError(f"MuJoCo cannot be imported {_backend(error)}") from None
    return mujoco


def _backend(error: Exception) -> str:
    """Say what MuJoCo was to render with, what came of it, and what helps."""
    chosen, words = os.environ.get("MUJOCO_GL", ""), " ".join(str(error).split())
    return (
        f"with MUJOCO_GL={chosen} ({words}); install libegl1 and libgl1-mesa-dri for egl or libosmesa6 for osmesa, "
        "and set MUJOCO_GL to the one that is there"
    )


def _matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    made = np.zeros(9)
    import_mujoco().mju_quat2Mat(made, quaternion)
    return made.reshape(3, 3)
