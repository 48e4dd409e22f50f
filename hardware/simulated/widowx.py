"""A simulated WidowX for the real driver, and faults to inject."""

from collections.abc import Callable, Mapping
from typing import Any

from mile.hardware import dynamixel as dxl
from mile.hardware.simulated.bus import SimulatedBus
from mile.hardware.simulated.servo import Servo
from mile.hardware.wx250s import CENTRE, JOINT_SERVOS, MODES, NO_SHADOW, SERVOS, SLEEP, raw_of

Plant = Callable[[dict[int, float], float], tuple[Mapping[int, float], Mapping[int, int]]]


def simulated_widowx(plant: Plant | None = None, fault: str | None = None) -> SimulatedBus:
    """Return the servos of a WidowX at rest, on a port of their own.

    Args:
        plant: Function that moves the shafts; see `SimulatedBus`.
        fault: Name of a fault that is there from the start, one of `FAULTS`.

    Raises:
        ValueError: The fault is unknown.
    """
    at_rest = dict(zip(JOINT_SERVOS, raw_of(SLEEP), strict=True))
    servos = {}
    for number, facts in SERVOS.items():
        servo = Servo(facts.model, at_rest.get(facts.shadows or number, CENTRE))
        servo.put(dxl.DRIVE_MODE, dxl.TIMED | (dxl.REVERSED if facts.reversed else 0))  # as the driver sets it up
        servo.put(dxl.OPERATING_MODE, MODES.get(number, dxl.POSITION_MODE))
        servo.put(dxl.SECONDARY_ID, facts.shadows or NO_SHADOW)
        servos[number] = servo

    bus = SimulatedBus(servos, plant)
    if fault is not None:
        inject(bus, fault)
    return bus


def inject(bus: SimulatedBus, fault: str) -> None:
    """Make a fault happen, which lasts from now on.

    Raises:
        ValueError: The fault is unknown.
    """
    if fault not in FAULTS:
        raise ValueError(f"unknown fault '{fault}'; expected {', '.join(FAULTS)}")
    with bus.lock:
        FAULTS[fault](bus)


def _put(servo: int, register: dxl.Register, value: int) -> Callable[[SimulatedBus], Any]:
    return lambda bus: bus.servos[servo].put(register, value)


def _lower_voltage(bus: SimulatedBus) -> None:
    for servo in bus.servos.values():
        servo.put(dxl.INPUT_VOLTAGE, 98)


FAULTS: dict[str, Callable[[SimulatedBus], Any]] = {
    "dropped_packets": lambda bus: setattr(bus, "dropped", 0.05),
    "corrupted_packets": lambda bus: setattr(bus, "corrupted", 0.01),
    "dead_servo": lambda bus: bus.dead.add(4),
    "unplugged": lambda bus: bus.dead.update(bus.servos),
    "overload": _put(2, dxl.HARDWARE_ERROR, 1 << 5),
    "overheat": _put(7, dxl.TEMPERATURE, 71),
    "low_voltage": _lower_voltage,
    "restart": lambda bus: bus.servos[4].reboot(bus.time),
    "wrong_servo": _put(8, dxl.MODEL_NUMBER, 1020),
    "shadow_mismatch": lambda bus: bus.servos[3].put(
        dxl.PRESENT_POSITION, bus.servos[3].get(dxl.PRESENT_POSITION) + 60
    ),
}
