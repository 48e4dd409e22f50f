"""A simulated desk with an arm, a box and a camera; the arm is driven by the real driver."""

import importlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mile.hardware.dynamixel import INSTALL, PRESENT_POSITION
from mile.hardware.simulated.scene import BLOCK_HEIGHT, BOX_HEIGHT, MEAN_BOX_PLACE, scene
from mile.hardware.simulated.servo import SHUT
from mile.hardware.simulated.widowx import simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import CENTRE, GRIPPER, GRIPPER_RAW, JOINT_SERVOS, SLEEP, TURN, angles_of

INSERTED_DEPTH = 0.02  # m below the rim, from where the block counts as inserted
BOX_SPREAD = 0.04  # m, greatest displacement of the box in each direction


class SimulatedBench:
    """A WidowX with a block in its gripper, and a box somewhere on the table.

    Args:
        rate: Control steps per second, Hz.
        fault: Name of a fault to simulate, one of `mile.hardware.simulated.widowx.FAULTS` or "frozen_camera".

    Attributes:
        real: False, because no real arm moves here; True for a real desk.
        robot: The real driver, on a simulated bus.
        camera: A camera that takes pictures of the scene.

    Raises:
        ConnectionError: The system is not Linux.
        ValueError: `MUJOCO_GL` names an OpenGL backend that is missing.
        ModuleNotFoundError: MuJoCo is not installed.
    """

    real = False

    def __init__(self, rate: float = 5.0, fault: str | None = None) -> None:
        # scene
        self._mujoco = mujoco = import_mujoco()
        self.model = mujoco.MjModel.from_xml_string(scene())
        self.data = mujoco.MjData(self.model)
        self.joints = [self.model.joint(str(number)).qposadr[0] for number in JOINT_SERVOS]
        self.block = self.model.joint("block").qposadr[0]
        self.data.qpos[self.joints] = SLEEP

        # arm and camera
        self.bus = simulated_widowx(self.move, None if fault == "frozen_camera" else fault)
        self.robot = WidowX(self.bus.port, rate, clock=self.bus)
        self.camera = SimulatedCamera(self, frozen=fault == "frozen_camera")

    def move(self, wanted: dict[int, float], period: float) -> tuple[Mapping[int, float], Mapping[int, int]]:
        """Drive the shafts, and return their positions and loads; see `SimulatedBus`."""
        # drive
        self.data.ctrl[:] = angles_of([wanted[number] for number in JOINT_SERVOS])
        if wanted[GRIPPER] > np.mean(GRIPPER_RAW):  # an open gripper lets the block fall
            self.data.eq_active[0] = False
        for _ in range(max(1, round(period / self.model.opt.timestep))):
            self._mujoco.mj_step(self.model, self.data)

        # measure
        raw = self.data.qpos[self.joints] * TURN / (2 * np.pi) + CENTRE
        positions = dict(zip(JOINT_SERVOS, raw, strict=True)) | {3: raw[1], 5: raw[2], GRIPPER: wanted[GRIPPER]}
        loads = self.data.actuator_force * 100
        return positions, {number: int(load) for number, load in zip(JOINT_SERVOS, loads, strict=True)}

    def prepare(self, seed: int) -> None:
        """Put the box somewhere, and the block into the gripper, which must be at rest."""
        # the box
        place = MEAN_BOX_PLACE + np.random.default_rng(seed).uniform(-BOX_SPREAD, BOX_SPREAD, 2)
        self.data.mocap_pos[0] = [*place, 0]
        self._mujoco.mj_forward(self.model, self.data)

        # the block, where the hand holds it
        hand, turn = self.data.site("hand").xpos, self.data.site("hand").xmat.reshape(3, 3)
        held = self.model.site("held")
        rotation = turn @ _matrix(held.quat).T  # [3, 3]
        self.data.qpos[self.block : self.block + 3] = hand - rotation @ held.pos
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, rotation.flatten())
        self.data.qpos[self.block + 3 : self.block + 7] = quaternion

        # at rest, and grasped
        self.data.qvel[:] = 0
        self.data.eq_active[0] = True
        self.bus.servos[GRIPPER].put(PRESENT_POSITION, SHUT)
        self._mujoco.mj_forward(self.model, self.data)

    def box(self) -> NDArray[np.float64]:
        """Return the position of the box, `[2]`, m."""
        return self.data.mocap_pos[0][:2].copy()

    def success(self) -> bool:
        """Return whether the block is in the hole."""
        bottom = self.data.body("block").xpos - [0, 0, BLOCK_HEIGHT / 2]
        offset = np.abs(bottom[:2] - self.data.mocap_pos[0][:2]).max()
        return bool(offset < 0.01 and bottom[2] < BOX_HEIGHT - INSERTED_DEPTH)

    def close(self) -> None:
        """Let the arm go to rest, and release the renderer and the servos' port."""
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
            RuntimeError: There is no offscreen renderer.
        """
        if self.renderer is None:
            mujoco = import_mujoco()
            os.environ.setdefault("MUJOCO_GL", "egl")
            try:
                importlib.reload(mujoco.gl_context)  # it chose a backend when it was first imported
                self.renderer = mujoco.Renderer(self.bench.model, 224, 224)
            except Exception as error:  # each OpenGL backend has errors of its own
                raise RuntimeError(f"MuJoCo cannot render offscreen {_backend(error)}") from None

        if self.last is None or not self.frozen:
            self.renderer.update_scene(self.bench.data, "webcam")
            self.last = self.renderer.render(), self.bench.bus.now()
        return self.last

    def close(self) -> None:
        """Release the renderer."""
        if self.renderer is not None:
            self.renderer.close()
            self.renderer = None


def import_mujoco() -> Any:
    """Import MuJoCo, which loads the OpenGL backend that `MUJOCO_GL` names.

    Raises:
        ValueError: This backend is missing.
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
    """Return which backend MuJoCo was to render with, the error, and advice."""
    chosen, reason = os.environ.get("MUJOCO_GL", ""), " ".join(str(error).split())
    return (
        f"with MUJOCO_GL={chosen} ({reason}); install libegl1 and libgl1-mesa-dri for egl or libosmesa6 for osmesa, "
        "and set MUJOCO_GL to the one that is there"
    )


def _matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.zeros(9)
    import_mujoco().mju_quat2Mat(matrix, quaternion)
    return matrix.reshape(3, 3)
