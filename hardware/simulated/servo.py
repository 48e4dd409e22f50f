"""One servo of the X series: its control table, and where its shaft is told to be."""

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
    POSITION,
    PRESENT_LOAD,
    PRESENT_POSITION,
    PROFILE_VELOCITY,
    PWM,
    TEMPERATURE,
    TIMED,
    TORQUE_ENABLE,
    Register,
)

ACCESS, RANGE, LENGTH = 7, 4, 5  # errors of an answer
ALERT = 0x80  # bit of an answer's error: see HARDWARE_ERROR
EEPROM = 64  # registers before this one may not be written under torque
GOALS = range(GOAL_PWM.address, GOAL_POSITION.address + GOAL_POSITION.size)  # which a tripped watchdog locks
OPEN, SHUT = 2900, 1500  # raw positions of a gripper's ends
GRIPPER_SPEED = 10.0  # raw per ms at full PWM


class Servo:
    """A servo that does what its registers say.

    Args:
        model: its model number.
        position: raw, at the start.
    """

    def __init__(self, model: int, position: int) -> None:
        self.table = bytearray(160)
        for register, value in (
            (MODEL_NUMBER, model),
            (OPERATING_MODE, POSITION),
            (PRESENT_POSITION, position),
            (GOAL_POSITION, position),
            (INPUT_VOLTAGE, 120),
            (TEMPERATURE, 32),
        ):
            self.put(register, value)
        self.begin, self.begun, self.spoken_to = float(position), 0.0, 0.0

    def get(self, register: Register) -> int:
        """Return a register."""
        data = self.table[register.address : register.address + register.size]
        return int.from_bytes(data, "little", signed=register.signed)

    def put(self, register: Register, value: int) -> None:
        """Set a register, from inside."""
        data = value.to_bytes(register.size, "little", signed=register.signed)
        self.table[register.address : register.address + register.size] = data

    def write(self, address: int, data: bytes, now: float) -> int:
        """Take data at an address; return an error, 0 if all is well."""
        if not address + len(data) <= len(self.table):
            return LENGTH
        if address < EEPROM and self.get(TORQUE_ENABLE):
            return ACCESS
        if address in GOALS and self.get(BUS_WATCHDOG) < 0:
            return RANGE
        if self.get(HARDWARE_ERROR) and address == TORQUE_ENABLE.address and data[0]:
            return ACCESS  # until it is rebooted
        self.table[address : address + len(data)] = data
        if address in (GOAL_POSITION.address, TORQUE_ENABLE.address):
            self.begin, self.begun = float(self.get(PRESENT_POSITION)), now
        if address == TORQUE_ENABLE.address and data[0]:
            self.put(GOAL_POSITION, self.get(PRESENT_POSITION))
        return 0

    def reboot(self, now: float) -> None:
        """Forget errors and torque."""
        self.put(HARDWARE_ERROR, 0)
        self.put(TORQUE_ENABLE, 0)
        self.put(BUS_WATCHDOG, 0)
        self.spoken_to = now

    def setpoint(self, now: float, period: float) -> float:
        """Return the raw position that the shaft is driven to at a time, s; `period` has passed since it was asked."""
        watchdog, present = self.get(BUS_WATCHDOG), self.get(PRESENT_POSITION)
        if watchdog > 0 and now - self.spoken_to > 0.02 * watchdog:
            self.put(BUS_WATCHDOG, -1)
            self.put(GOAL_POSITION, present)
            self.begin, self.begun = float(present), now
        if not self.get(TORQUE_ENABLE) or self.get(HARDWARE_ERROR):
            return float(present)
        if self.get(OPERATING_MODE) == PWM:
            moved = GRIPPER_SPEED * 1000 * period * self.get(GOAL_PWM) / 885
            return float(np.clip(present + moved, SHUT, OPEN))
        lasts = self.get(PROFILE_VELOCITY) / 1000 if self.get(DRIVE_MODE) & TIMED else 0.0
        part = 1.0 if lasts <= 0 else min(1.0, (now - self.begun) / lasts)
        return self.begin + part * (self.get(GOAL_POSITION) - self.begin)

    def moved(self, position: float, load: int) -> None:
        """Note where the shaft is now, and what it bears."""
        self.put(PRESENT_POSITION, round(position))
        self.put(PRESENT_LOAD, load)
