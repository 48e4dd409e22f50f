"""What the arm does in each fault, on the simulated bus, and what a control step takes: docs/hardware.md.

python benchmarks/arm.py
"""

import time

import numpy as np

from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyKernel
from mile.hardware.simulated.widowx import FAULTS, inject, simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import ARM, HIGH, LOW, READY, angles_of


def play(fault):
    """Move for ten steps, have something go wrong amid the next one, and go on for as long as the arm does."""
    way = []

    def follow(wanted, period):
        way.append((bus.time, angles_of([wanted[it] for it in ARM])))
        return wanted, {}

    bus = simulated_widowx(follow)
    arm = WidowX(bus.port, clock=bus)
    arm.connect()
    for step in range(10):
        arm.send_action(np.array([1, 1, -1, 1] if step < 5 else [1, -1, 0, 1], np.float32))
    said, then = "goes on", bus.time
    amid = bus.sleep
    bus.sleep = lambda seconds: (amid(seconds), inject(bus, fault), setattr(bus, "sleep", amid))  # within a step
    try:
        for _ in range(20):
            arm.send_action(np.array([-1, -1, 0.2, 1], np.float32))
    except (RuntimeError, ConnectionError) as error:
        said = str(error).split(";")[0]
    held = arm.frozen
    arm.bus.ping(1)  # all that was sent before it has arrived
    bus.sleep(2)
    times, angles = (np.array(it) for it in zip(*way, strict=True))
    moving = times[1:][(np.abs(np.diff(angles, axis=0)).max(1) > 1e-6) & (times[1:] > then)]
    places = np.array([forward(it)[:3, 3] for it in angles])
    outside = max((Limits().low - places).max(), (places - Limits().high).max(), 0.0)
    arm.close()
    bus.close()
    return said, (f"{1000 * (moving[-1] - then if len(moving) else 0):.0f} ms" if held else "–"), outside


if __name__ == "__main__":
    print("| fault | what the arm did | held after | outside the workspace |\n|---|---|---|---|")
    for fault in FAULTS:
        said, held, outside = play(fault)
        print(f"| `{fault}` | {said} | {held} | {1000 * outside:.1f} mm |", flush=True)
    kernel, target = SafetyKernel(Limits(), LOW, HIGH), forward(READY)[:3, 3]
    for name, place in (("a step", target), ("a step that cannot be reached", target + 9)):
        began = time.process_time()
        for _ in range(200):
            kernel.step(place, READY, np.array([0.02, 0.02, 0.02]), 0.2)
        print(f"{name}: {(time.process_time() - began) * 5:.2f} ms")
