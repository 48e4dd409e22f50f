"""One simulated servo of the X series: its control table, and where it drives its shaft."""

import numpy as np

from mile.hardware.dynamixel import (
    BUS_WATCHDOG,
    DRIVE_MODE,
    GOAL_POSITION,
    GOAL_PWM,
    HARDWARE_ERROR,
    INPUT_VOLTAGE,
    MODEL_NUMBER,
    OPERATING_MODE,
    POSITION_MODE,
    PRESENT_LOAD,
    PRESENT_POSITION,
    PROFILE_VELOCITY,
    PWM_MODE,
    TEMPERATURE,
    TIMED,
    TORQUE_ENABLE,
    Register,
)

RANGE_ERROR, LENGTH_ERROR, ACCESS_ERROR = 4, 5, 7  # in an answer
ALERT = 0x80  # bit of an answer's error, which points to HARDWARE_ERROR
EEPROM_END = 64  # address; registers before it cannot be written while the torque is on
GOALS = range(GOAL_PWM.address, GOAL_POSITION.address + GOAL_POSITION.size)  # addresses that a tripped watchdog locks
OPEN, SHUT = 2900, 1500  # raw positions where a gripper stops
GRIPPER_SPEED = 10.0  # raw per ms at full PWM


class Servo:
    """A servo that does what its registers say.

    Args:
        model: Model number.
        position: Raw position at the start.

    Attributes:
        table: Control table, 160 bytes.
        last_packet: Simulated time of the last packet on the bus, s.
    """

    def __init__(self, model: int, position: int) -> None:
        self.table = bytearray(160)
        for register, value in (
            (MODEL_NUMBER, model),
            (OPERATING_MODE, POSITION_MODE),
            (PRESENT_POSITION, position),
            (GOAL_POSITION, position),
            (INPUT_VOLTAGE, 120),
            (TEMPERATURE, 32),
        ):
            self.put(register, value)
        self.start, self.start_time = float(position), 0.0  # of the present motion
        self.last_packet = 0.0

    def get(self, register: Register) -> int:
        """Return the value of a register."""
        data = self.table[register.address : register.address + register.size]
        return int.from_bytes(data, "little", signed=register.signed)

    def put(self, register: Register, value: int) -> None:
        """Set a register from inside, without a packet."""
        data = value.to_bytes(register.size, "little", signed=register.signed)
        self.table[register.address : register.address + register.size] = data

    def write(self, address: int, data: bytes, now: float) -> int:
        """Write data at an address, as a packet does; return an error, 0 if there is none."""
        # errors
        if not address + len(data) <= len(self.table):
            return LENGTH_ERROR
        if address < EEPROM_END and self.get(TORQUE_ENABLE):
            return ACCESS_ERROR
        if address in GOALS and self.get(BUS_WATCHDOG) < 0:
            return RANGE_ERROR
        if self.get(HARDWARE_ERROR) and address == TORQUE_ENABLE.address and data[0]:
            return ACCESS_ERROR  # until it is rebooted

        # the register, and a new motion
        self.table[address : address + len(data)] = data
        if address in (GOAL_POSITION.address, TORQUE_ENABLE.address):
            self.start, self.start_time = float(self.get(PRESENT_POSITION)), now
        if address == TORQUE_ENABLE.address and data[0]:
            self.put(GOAL_POSITION, self.get(PRESENT_POSITION))
        return 0

    def reboot(self, now: float) -> None:
        """Clear errors, torque and watchdog."""
        self.put(HARDWARE_ERROR, 0)
        self.put(TORQUE_ENABLE, 0)
        self.put(BUS_WATCHDOG, 0)
        self.last_packet = now

    def setpoint(self, now: float, period: float) -> float:
        """Return the raw position that the shaft is driven to.

        Args:
            now: Simulated time, s.
            period: Time since the last call, s.
        """
        # watchdog
        watchdog, present = self.get(BUS_WATCHDOG), self.get(PRESENT_POSITION)
        if watchdog > 0 and now - self.last_packet > 0.02 * watchdog:
            self.put(BUS_WATCHDOG, -1)
            self.put(GOAL_POSITION, present)
            self.start, self.start_time = float(present), now

        # where the shaft goes
        if not self.get(TORQUE_ENABLE) or self.get(HARDWARE_ERROR):
            return float(present)
        if self.get(OPERATING_MODE) == PWM_MODE:
            change = GRIPPER_SPEED * 1000 * period * self.get(GOAL_PWM) / 885
            return float(np.clip(present + change, SHUT, OPEN))
        duration = self.get(PROFILE_VELOCITY) / 1000 if self.get(DRIVE_MODE) & TIMED else 0.0
        fraction = 1.0 if duration <= 0 else min(1.0, (now - self.start_time) / duration)
        return self.start + fraction * (self.get(GOAL_POSITION) - self.start)

    def set_shaft(self, position: float, load: int) -> None:
        """Set the present position and load of the shaft."""
        self.put(PRESENT_POSITION, round(position))
        self.put(PRESENT_LOAD, load)
