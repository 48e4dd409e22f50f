"""The driver of a WidowX 250 (6 DoF), without ROS: nine servos on one port.

Source: Trossen's tables of the arm; Robotis' e-manual.
"""

import time

import numpy as np
from numpy.typing import NDArray

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.interfaces import Clock, RobotState
from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyError, SafetyKernel
from mile.hardware.servos import Servos, check_shadows
from mile.hardware.watched_arm import GRIPPER_PWM, MAX_LAG, WatchedArm
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, JOINT_SERVOS, READY, SERVOS, SLEEP, raw_of

NEAR_REST = 0.3  # rad, greatest distance of a joint from SLEEP at which the arm counts as at rest
POINTS_DOWN_BELOW = -0.95  # z of the gripper's direction, from where the gripper counts as pointing down


class WallClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return the time, s."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(max(0.0, seconds))


class WidowX(WatchedArm):
    """Moves the arm by small Cartesian steps with the gripper pointing down; see `mile.hardware.interfaces.Robot`.

    The safety kernel makes every motion, that to rest included. While time passes between two steps the servos are
    checked, and a `Guard` checks them while the arm is left alone; if this process falls silent, they hold by
    themselves. After a `SafetyError` or a `ServoError` the arm holds with its torque on, and moves no more.

    Args:
        port: Serial port of the adapter.
        rate: Control steps per second, Hz.
        limits: Limits of the arm; None: the defaults of `Limits`.
        clock: Real or simulated clock; None: the real one.

    Attributes:
        clipped: Names of the limits that cut the last action.

    Raises:
        ValueError: The rate is not within 5 to 20 Hz, or joints may turn further in a step than they may lag behind.
        SafetyError: Within these limits the arm cannot go to rest.
    """

    def __init__(
        self, port: str = "/dev/ttyUSB0", rate: float = 5.0, limits: Limits | None = None, clock: Clock | None = None
    ) -> None:
        if not 5 <= rate <= 20:
            raise ValueError(f"the control rate must be within 5 to 20 Hz, got {rate}")
        super().__init__(SafetyKernel(limits or Limits(), JOINT_LOW, JOINT_HIGH), clock or WallClock())
        self.port, self.period = port, 1 / rate
        self.clipped: tuple[str, ...] = ()
        for start, end in ((SLEEP, READY), (READY, SLEEP)):  # a way into the workspace may not be one out of it
            self.kernel.path(start, end, self.period)

        # right after a goal is sent a joint is as far from it as it turns in a step
        speed = self.kernel.limits.joint_speed
        if (turn := np.rad2deg(speed * self.period)) >= MAX_LAG:
            raise ValueError(
                f"joint_speed {speed} rad/s turns a joint by {turn:.0f}° in a step at {rate:g} Hz, and one that is "
                f"{MAX_LAG}° behind counts as blocked; choose a lower joint_speed or a higher rate"
            )

    def connect(self) -> None:
        """Find all servos, set them up, and move slowly to where episodes begin; see `Robot`.

        An arm that holds itself up, as after a fault, is taken over as it is.

        Raises:
            ConnectionError: The port or a servo is missing.
            SafetyError: A servo is in trouble, or the arm cannot get there.
        """
        self.bus = Servos(self.port)
        self.bus.find()
        holding = {number for number, state in self._look().items() if state.torque}

        # set the servos up, for which their torque must be off
        if not self.bus.are_set_up():
            if holding and np.abs(self.bus.measure()[0] - SLEEP).max() > NEAR_REST:
                raise SafetyError(
                    "the arm holds itself up, and has servos to set up: support it, and switch it off and on"
                )
            self.bus.set_up()
            holding = set()

        # turn the torque on, and hold
        check_shadows(self._look())
        self.bus.enable(SERVOS.keys() - holding)
        self._stay()
        self.awake = True

        # begin
        self.guard.start()
        self.reset()

    def observe(self) -> RobotState:
        """Measure the arm's state now; see `Robot`."""
        with self._holding_on_faults():
            return self._measure()

    def send_action(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move, and wait until the step's time is over; see `Robot`.

        Raises:
            SafetyError: The arm holds.
        """
        with self._holding_on_faults():
            self._resume()

            # within the limits
            wish = self.kernel.limits.step * np.asarray(action[:3], float)
            motion = self.kernel.step(self.target, self.angles, wish, self.period)
            sent = (motion.target - self.target) / self.kernel.limits.step

            # move
            self.target, self.clipped = motion.target, motion.clipped
            self._send(motion.angles)
            self.grip(float(action[3]))
            self.wait(self.period)
        return np.append(sent, self.gripper).astype(np.float32)

    def reset(self) -> None:
        """Move slowly up, then level, to where episodes begin; see `Robot`.

        The hand moves on straight lines, which stay in the workspace; the joints' own way between two of its corners
        may not.
        """
        goal = forward(READY)[:3, 3]
        with self._holding_on_faults():
            self._resume()
            if forward(self.angles)[2, 0] < POINTS_DOWN_BELOW:
                self._approach(np.array([*self.target[:2], max(self.target[2], goal[2])]))
                self._approach(goal)
            self._move(READY)

    def close(self) -> None:
        """Move slowly to rest unless a fault holds the arm, and close the port; see `Robot`."""
        if self.bus is None:
            return
        try:
            self.guard.close()
            if self.awake and not self.frozen:
                self.reset()
                self._move(SLEEP)
                self.bus.release()
        except BaseException:  # a fault, or a second Ctrl-C
            self.hold()
            raise
        finally:
            if self.frozen and self.awake:
                print("the arm holds, with its torque on: support it before you switch it off", flush=True)
            self.bus.close()
            self.bus, self.awake = None, False

    def _approach(self, goal: NDArray[np.float64]) -> None:
        """Move slowly on a straight line, as far as the limits allow."""
        while (distance := np.abs(goal - self.target).max()) > 1e-3:
            wish = (goal - self.target) * min(1.0, self.kernel.limits.step / 2 / distance)
            motion = self.kernel.step(self.target, self.angles, wish, self.period)
            if np.abs(motion.target - self.target).max() < 1e-6:
                return
            self._send(motion.angles)
            self.target = motion.target
            self.wait(self.period)

    def _move(self, angles: NDArray[np.float64]) -> None:
        """Move slowly to joint angles, on the joints' own way."""
        for waypoint in self.kernel.path(self.angles, angles, self.period):
            self._send(waypoint)
            self.wait(self.period)
        self.target = forward(angles)[:3, 3]

    def _send(self, angles: NDArray[np.float64]) -> None:
        """Send the joints to angles, and check that the goals have arrived, because servos do not acknowledge them."""
        goals = dict(zip(JOINT_SERVOS, raw_of(angles), strict=True))
        for _ in range(dxl.TRIES):
            self.bus.write(dxl.GOAL_POSITION, goals)
            states = self._look()
            if all(states[number].goal == raw for number, raw in goals.items()):
                self.angles = angles
                return
        raise ServoError("goals do not arrive at the servos; check the cable, then mile-doctor")

    def _stay(self) -> None:
        """Have the arm stay where it is measured."""
        state = self._measure()
        self.angles, self.target = state.angles, state.position
        self.bus.stay(self.angles, self.period)

    def _resume(self) -> None:
        """Go on from where the arm is, if it was left alone for so long that its watchdogs made it hold.

        Raises:
            SafetyError: The arm holds since a fault.
        """
        if self.frozen:
            reason = "an earlier fault" if self.fault is None else f"this was seen: {self.fault}"
            raise SafetyError(f"the arm holds since {reason}; see to it, and start again")
        if self.power != GRIPPER_PWM:
            self._squeeze(GRIPPER_PWM)
        if any(state.watchdog < 0 for state in self.bus.states().values()):
            self._stay()
