import numpy as np

from mile.hardware import dynamixel as dxl
from mile.hardware.kinematics import forward
from mile.hardware.simulated.widowx import simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import JOINT_SERVOS, angles_of


class TrackedArm:
    """The driver on simulated servos, and the angles where their shafts have been."""

    def __init__(self, fault=None, **options):
        self.way = []  # time, angles
        self.bus = simulated_widowx(self.follow, fault)
        self.arm = WidowX(self.bus.port, clock=self.bus, **options)

    def follow(self, wanted, period):
        self.way.append((self.bus.time, angles_of([wanted[number] for number in JOINT_SERVOS])))
        return wanted, {}

    def amid(self, event):
        """Call a function within the next step."""
        sleep = self.bus.sleep

        def sleep_once(seconds):
            sleep(seconds)
            event()
            self.bus.sleep = sleep

        self.bus.sleep = sleep_once

    def holds_itself(self):
        return all(self.bus.servos[number].get(dxl.TORQUE_ENABLE) for number in JOINT_SERVOS)

    def wait(self, seconds):
        """Let time pass in silence, once everything that was sent has arrived."""
        self.arm.bus.ping(1)
        self.bus.sleep(seconds)

    def angles(self):
        return np.array(self.way[-1][1])

    def positions(self):
        return np.array([forward(np.array(angles))[:3, 3] for _, angles in self.way])

    def moved_last(self, since):
        """Seconds after a time until the shafts stood still."""
        times = np.array([then for then, _ in self.way])
        angles = np.array([angles for _, angles in self.way])
        moving = np.abs(np.diff(angles, axis=0)).max(1) > 1e-6
        last = times[1:][moving & (times[1:] > since)]
        return float(last[-1] - since) if len(last) else 0.0
