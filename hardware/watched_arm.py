"""An arm that is watched: its servos are checked while time passes, and after a fault it holds."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.guard import Guard
from mile.hardware.interfaces import Clock, RobotState
from mile.hardware.kinematics import forward
from mile.hardware.safety import SafetyError, SafetyKernel, ServoState
from mile.hardware.servos import WATCHDOG_TICKS, Servos
from mile.hardware.wx250s import GRIPPER, JOINT_SERVOS, NAMES, raw_of

MAX_LAG = 20  # degrees, between the position that a servo was sent to and its own
MAX_POSITION_ERROR = round(MAX_LAG / 360 * 4096)  # the same, raw
CHECK_PERIOD = 0.05  # s between two checks of the servos while time passes
GRIPPER_PWM = 250  # of 885: strong enough to squeeze, weak enough not to burn the motor
EASED_PWM = 100  # of 885: holds a light block, and can be kept up for as long as it takes
EASED_AFTER = 10.0  # s alone, after which the gripper squeezes with EASED_PWM


class WatchedArm:
    """Checks the servos while time passes, and holds after a fault; `mile.hardware.widowx.WidowX` moves them.

    Args:
        kernel: Limits of the arm, and the checks that belong to them.
        clock: Clock by which time passes.

    Attributes:
        bus: The servos; None while the arm is not connected.
        awake: Whether the servos' torque is on, so that the arm holds itself up.
        frozen: Whether a fault makes the arm hold for good.
        fault: Fault that happened while the arm was left alone; None if there was none.
        angles: Angles that the joints were last sent to, `[6]`, rad.
        target: Position of the end effector at these angles, `[3]`, m.
        gripper: Direction in which the gripper presses: 1 closed, −1 open, 0 not yet.
        power: PWM with which it presses.
    """

    def __init__(self, kernel: SafetyKernel, clock: Clock) -> None:
        self.kernel, self.clock = kernel, clock
        self.bus: Servos | None = None
        self.awake = self.frozen = False
        self.fault: Exception | None = None
        self.guard = Guard(self._check_unattended)
        self.angles, self.target = np.zeros(6), np.zeros(3)
        self.gripper, self.power = 0.0, GRIPPER_PWM

    def hold(self) -> None:
        """Stay where the arm is, and move no more; see `mile.hardware.interfaces.Robot`."""
        self.frozen = True
        if self.bus is None or not self.awake:
            return
        with self.guard.lock:
            self.bus.stop()
            with suppress(ServoError):
                if self.bus.ping(GRIPPER, tries=1) is not None:
                    self._squeeze(EASED_PWM)

    def grip(self, close: float) -> None:
        """Squeeze (above 0) or open (below); the gripper keeps on pressing."""
        with self._holding_on_faults():
            if close and np.sign(close) != self.gripper:
                self.gripper = float(np.sign(close))
                self._squeeze(GRIPPER_PWM)

    def wait(self, seconds: float) -> None:
        """Let time pass, and check the servos meanwhile."""
        end = self.clock.now() + seconds
        with self._holding_on_faults():
            while (left := end - self.clock.now()) > 1e-6:
                self._look()
                self.clock.sleep(min(CHECK_PERIOD, left))

    @contextmanager
    def _holding_on_faults(self) -> Iterator[None]:
        with self.guard.lock:
            try:
                yield
            except (SafetyError, ServoError):
                self.hold()
                raise

    def _squeeze(self, power: int) -> None:
        self.power = power
        self.bus.set(dxl.GOAL_PWM, GRIPPER, int(-power * self.gripper))

    def _measure(self) -> RobotState:
        angles, gripper = self.bus.measure()
        return RobotState(forward(angles)[:3, 3], angles, gripper, self.clock.now())

    def _look(self) -> dict[int, ServoState]:
        """Return the servos' reports; while the arm works, nothing may be wrong with them.

        Raises:
            SafetyError: Something is wrong with a servo.
        """
        states = self.bus.states()
        self.guard.note_attention()
        self._check(states)
        if not self.awake:
            return states

        # while the arm works, no watchdog may have stopped a servo
        for number in JOINT_SERVOS:
            if states[number].watchdog < 0:
                raise SafetyError(
                    f"servo {number} ({NAMES[number]}) has stopped: this program was silent for "
                    f"{20 * WATCHDOG_TICKS} ms amid a motion"
                )
        return states

    def _check(self, states: dict[int, ServoState]) -> None:
        self.kernel.check(NAMES, states)
        if not self.awake:
            return

        # torque, and position
        for number, raw in zip(JOINT_SERVOS, raw_of(self.angles), strict=True):
            name, state = f"servo {number} ({NAMES[number]})", states[number]
            if not state.torque:
                raise SafetyError(
                    f"{name} has lost its torque: it was restarted, or the supply dipped; support the arm"
                )
            error = abs(state.position - raw)
            if error > MAX_POSITION_ERROR:
                raise SafetyError(f"{name} is {error} raw from where it was sent: what blocks it?")

    def _check_unattended(self, seconds: float) -> None:
        """Check the servos while the arm is left alone; called by the guard."""
        if self.frozen:
            return
        try:
            self._check(self.bus.states())
            if seconds > EASED_AFTER and self.power != EASED_PWM:
                self._squeeze(EASED_PWM)
        except Exception as error:  # the guard's thread must neither die nor stay silent
            self.fault = error
            self.hold()
            with suppress(OSError, ValueError):  # the terminal may be gone
                print(f"error: {error}; the arm holds", flush=True)
