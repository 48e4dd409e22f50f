"""The arm's reaction to each fault, on the simulated bus, and the time of a control step: docs/guides/arm_safety.md.

python benchmarks/arm.py
"""

import time

import numpy as np

from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyKernel
from mile.hardware.simulated.widowx import FAULTS, inject, simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, JOINT_SERVOS, READY, angles_of

STEPS = 200  # of the safety kernel, to be timed


def play(fault):
    """Move for ten steps, inject a fault amid the next one, and go on for as long as the arm does."""
    way = []  # time, angles

    def follow(wanted, period):
        way.append((bus.time, angles_of([wanted[number] for number in JOINT_SERVOS])))
        return wanted, {}

    # move
    bus = simulated_widowx(follow)
    arm = WidowX(bus.port, clock=bus)
    arm.connect()
    for step in range(10):
        arm.send_action(np.array([1, 1, -1, 1] if step < 5 else [1, -1, 0, 1], np.float32))

    # a fault within a step
    message, fault_time = "goes on", bus.time
    sleep = bus.sleep

    def sleep_and_fail(seconds):
        sleep(seconds)
        inject(bus, fault)
        bus.sleep = sleep

    bus.sleep = sleep_and_fail
    try:
        for _ in range(20):
            arm.send_action(np.array([-1, -1, 0.2, 1], np.float32))
    except (RuntimeError, ConnectionError) as error:
        message = str(error).split(";")[0]

    # let the arm come to a stop
    frozen = arm.frozen
    arm.bus.ping(1)  # all that was sent before it has arrived
    bus.sleep(2)
    arm_held = held_after(way, fault_time) if frozen else "–"
    outside = metres_outside(way)
    arm.close()
    bus.close()
    return message, arm_held, outside


def held_after(way, fault_time):
    """Return the time from the fault to the last motion, in words."""
    times = np.array([then for then, _ in way])
    angles = np.array([angles for _, angles in way])
    moving = np.abs(np.diff(angles, axis=0)).max(1) > 1e-6
    last = times[1:][moving & (times[1:] > fault_time)]
    return f"{1000 * (last[-1] - fault_time if len(last) else 0):.0f} ms"


def metres_outside(way):
    """Return how far the hand left the workspace at most, m."""
    places = np.array([forward(angles)[:3, 3] for _, angles in way])
    return max((Limits().low - places).max(), (places - Limits().high).max(), 0.0)


def main():
    """Print a table of the faults, and the time of a control step."""
    print("| fault | what the arm did | held after | outside the workspace |\n|---|---|---|---|")
    for fault in FAULTS:
        message, arm_held, outside = play(fault)
        print(f"| `{fault}` | {message} | {arm_held} | {1000 * outside:.1f} mm |", flush=True)

    kernel, target = SafetyKernel(Limits(), JOINT_LOW, JOINT_HIGH), forward(READY)[:3, 3]
    for name, place in (("a step", target), ("a step that cannot be reached", target + 9)):
        began = time.process_time()
        for _ in range(STEPS):
            kernel.step(place, READY, np.array([0.02, 0.02, 0.02]), 0.2)
        print(f"{name}: {1000 * (time.process_time() - began) / STEPS:.2f} ms")


if __name__ == "__main__":
    main()
