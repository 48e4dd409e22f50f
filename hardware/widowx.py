"""The driver of a WidowX 250 (6 DoF), without ROS: nine servos on one port.

Source: Trossen's tables of the arm; Robotis' e-manual.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.guard import Guard
from mile.hardware.interfaces import Clock, RobotState
from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyError, SafetyKernel, ServoState
from mile.hardware.servos import WATCHDOG, Servos, check_shadows
from mile.hardware.wx250s import ARM, GRIPPER, HIGH, LOW, NAMES, READY, SERVOS, SLEEP, raw_of

ASTRAY = 230  # raw, between where a servo was sent and is: 20°
NEAR_REST = 0.3  # rad, from SLEEP
LISTEN = 0.05  # s between two looks at the servos while time passes
POINTS_DOWN = -0.95  # z of the gripper's direction
GRIPPER_PWM = 250  # of 885: what squeezes and does not burn
EASED_PWM = 100  # what still holds a light block, for as long as it takes
EASE = 10.0  # s alone, from where on that is enough


class WallClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return the time, s."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(max(0.0, seconds))


class WidowX:
    """Moves the arm by small Cartesian steps with the gripper pointing down; see `mile.hardware.interfaces.Robot`.

    Every motion, that to rest included, is made by the safety kernel. While time passes between two steps the servos
    are looked at, and by a `Guard` while the arm is left alone; if this process falls silent, they hold by themselves.
    After a `SafetyError` or a `ServoError` the arm holds with its torque on, and moves no more.

    Args:
        port: of the adapter.
        rate: of control steps, Hz.
        limits: of what it may do.
        clock: real or simulated.

    Attributes:
        clipped: by which limits the last action was cut.
        frozen: whether it holds for good.
        fault: why, if it happened while the arm was left alone.

    Raises:
        ValueError: the rate is not within 5 to 20 Hz.
        SafetyError: within these limits the arm cannot go to rest.
    """

    def __init__(
        self, port: str = "/dev/ttyUSB0", rate: float = 5.0, limits: Limits | None = None, clock: Clock | None = None
    ) -> None:
        if not 5 <= rate <= 20:
            raise ValueError(f"the control rate must be within 5 to 20 Hz, got {rate}")
        self.port, self.period = port, 1 / rate
        self.kernel = SafetyKernel(limits or Limits(), LOW, HIGH)
        self.clock: Clock = clock or WallClock()
        self.bus: Servos | None = None
        self.clipped: tuple[str, ...] = ()
        self.awake = self.frozen = False
        self.fault: Exception | None = None
        self.guard = Guard(self._alone)
        self.kernel.path(SLEEP, READY, self.period)  # refuses limits in which the arm could not go to rest
        self.angles, self.target, self.gripper, self.power = np.zeros(6), np.zeros(3), 0.0, GRIPPER_PWM

    def connect(self) -> None:
        """Find all servos, set them up, and move slowly to where episodes begin; see `Robot`.

        An arm that holds itself up, as after a fault, is taken over as it is.

        Raises:
            ConnectionError: the port or a servo is missing.
            SafetyError: a servo is in trouble, or the arm cannot get there.
        """
        self.bus = Servos(self.port)
        self.bus.find()
        holding = {number for number, state in self._look().items() if state.torque}
        if not self.bus.are_set_up():  # for which they must let go
            if holding and np.abs(self.bus.measure()[0] - SLEEP).max() > NEAR_REST:
                raise SafetyError(
                    "the arm holds itself up, and has servos to set up: support it, and switch it off and on"
                )
            self.bus.set_up()
            holding = set()
        check_shadows(self._look())
        self.bus.enable(SERVOS.keys() - holding)
        self._stay()
        self.awake = True
        self.guard.start()
        self.reset()

    def observe(self) -> RobotState:
        """Return what is measured now; see `Robot`."""
        with self._holding_on_faults():
            return self._measure()

    def send_action(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """Move, and wait until the step's time is over; see `Robot`.

        Raises:
            SafetyError: the arm holds.
        """
        with self._holding_on_faults():
            self._resume()
            wish = self.kernel.limits.step * np.asarray(action[:3], float)
            motion = self.kernel.step(self.target, self.angles, wish, self.period)
            sent = (motion.target - self.target) / self.kernel.limits.step
            self.target, self.clipped = motion.target, motion.clipped
            self._send(motion.angles)
            self.grip(float(action[3]))
            self.wait(self.period)
        return np.append(sent, self.gripper).astype(np.float32)

    def reset(self) -> None:
        """Move slowly up, then level, to where episodes begin; see `Robot`.

        On straight lines, which stay in the workspace; the joints' own way between two of its corners may not.
        """
        goal = forward(READY)[:3, 3]
        with self._holding_on_faults():
            self._resume()
            if forward(self.angles)[2, 0] < POINTS_DOWN:
                self._approach(np.array([*self.target[:2], max(self.target[2], goal[2])]))
                self._approach(goal)
            self._move(READY)

    def hold(self) -> None:
        """Stay where it is, and move no more; see `Robot`."""
        self.frozen = True
        if self.bus is None or not self.awake:
            return
        with self.guard.view:
            self.bus.stop()
            with suppress(ServoError):
                if self.bus.ping(GRIPPER, tries=1) is not None:
                    self._squeeze(EASED_PWM)

    def close(self) -> None:
        """Move slowly to rest unless a fault holds the arm, and close the port; see `Robot`."""
        if self.bus is None:
            return
        try:
            self.guard.close()
            if self.awake and not self.frozen:
                self.reset()
                self._move(SLEEP)
                self.bus.let_go()
        except BaseException:  # a fault, or a second Ctrl-C
            self.hold()
            raise
        finally:
            if self.frozen and self.awake:
                print("the arm holds, with its torque on: support it before you switch it off", flush=True)
            self.bus.close()
            self.bus, self.awake = None, False

    @contextmanager
    def _holding_on_faults(self) -> Iterator[None]:
        with self.guard.view:
            try:
                yield
            except (SafetyError, ServoError):
                self.hold()
                raise

    def _approach(self, goal: NDArray[np.float64]) -> None:
        """Move slowly on a straight line, as far as it can be gone."""
        while (away := np.abs(goal - self.target).max()) > 1e-3:
            wish = (goal - self.target) * min(1.0, self.kernel.limits.step / 2 / away)
            motion = self.kernel.step(self.target, self.angles, wish, self.period)
            if np.abs(motion.target - self.target).max() < 1e-6:
                return
            self._send(motion.angles)
            self.target = motion.target
            self.wait(self.period)

    def _move(self, angles: NDArray[np.float64]) -> None:
        for part in self.kernel.path(self.angles, angles, self.period):
            self._send(part)
            self.wait(self.period)
        self.target = forward(angles)[:3, 3]

    def _send(self, angles: NDArray[np.float64]) -> None:
        """Send the joints somewhere, and see that it has arrived: nobody acknowledges a goal."""
        goal = dict(zip(ARM, raw_of(angles), strict=True))
        for _ in range(dxl.TRIES):
            self.bus.write(dxl.GOAL_POSITION, goal)
            states = self._look()
            if all(states[number].goal == raw for number, raw in goal.items()):
                self.angles = angles
                return
        raise ServoError("goals do not arrive at the servos; check the cable, then mile-doctor")

    def grip(self, close: float) -> None:
        """Squeeze (above 0) or open (below); the gripper keeps on pressing."""
        with self._holding_on_faults():
            if close and np.sign(close) != self.gripper:
                self.gripper = float(np.sign(close))
                self._squeeze(GRIPPER_PWM)

    def _squeeze(self, power: int) -> None:
        self.power = power
        self.bus.set(dxl.GOAL_PWM, GRIPPER, int(-power * self.gripper))

    def _stay(self) -> None:
        """Have the arm stay where it is measured."""
        state = self._measure()
        self.angles, self.target = state.angles, state.position
        self.bus.stay(self.angles, self.period)

    def _resume(self) -> None:
        """Go on from where the arm is, if it was left alone for so long that its watchdogs made it hold.

        Raises:
            SafetyError: it holds since a fault.
        """
        if self.frozen:
            why = "an earlier fault" if self.fault is None else f"this was seen: {self.fault}"
            raise SafetyError(f"the arm holds since {why}; see to it, and start again")
        if self.power != GRIPPER_PWM:
            self._squeeze(GRIPPER_PWM)
        if any(state.watchdog < 0 for state in self.bus.states().values()):
            self._stay()

    def wait(self, seconds: float) -> None:
        """Let time pass, and look at the servos meanwhile."""
        end = self.clock.now() + seconds
        with self._holding_on_faults():
            while (left := end - self.clock.now()) > 1e-6:
                self._look()
                self.clock.sleep(min(LISTEN, left))

    def _look(self) -> dict[int, ServoState]:
        """Return what the servos report; amid the arm's work, nothing may be wrong with them.

        Raises:
            SafetyError: something is.
        """
        states = self.bus.states()
        self.guard.seen()
        self._check(states)
        if self.awake:
            for number in ARM:
                if states[number].watchdog < 0:
                    raise SafetyError(
                        f"servo {number} ({NAMES[number]}) has stopped: this program was silent for "
                        f"{20 * WATCHDOG} ms amid a motion"
                    )
        return states

    def _check(self, states: dict[int, ServoState]) -> None:
        self.kernel.check(NAMES, states)
        if not self.awake:
            return
        for number, raw in zip(ARM, raw_of(self.angles), strict=True):
            name, state = f"servo {number} ({NAMES[number]})", states[number]
            if not state.torque:
                raise SafetyError(
                    f"{name} has lost its torque: it was restarted, or the supply dipped; support the arm"
                )
            if abs(state.position - raw) > ASTRAY:
                raise SafetyError(f"{name} is {abs(state.position - raw)} raw from where it was sent: what blocks it?")

    def _alone(self, seconds: float) -> None:
        """Look at the servos while the arm is left alone; called by the guard."""
        if self.frozen:
            return
        try:
            self._check(self.bus.states())
            if seconds > EASE and self.power != EASED_PWM:
                self._squeeze(EASED_PWM)
        except Exception as error:  # this thread must neither die nor stay silent
            self.fault = error
            self.hold()
            with suppress(OSError, ValueError):  # nobody may be left to read it
                print(f"error: {error}; the arm holds", flush=True)

    def _measure(self) -> RobotState:
        angles, gripper = self.bus.measure()
        return RobotState(forward(angles)[:3, 3], angles, gripper, self.clock.now())
