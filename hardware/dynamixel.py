"""The servos' serial bus: registers by name, every transaction tried again, every failure named.

Source: Robotis' e-manual of Protocol 2.0 and of the X series' control table.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mile.hardware.port import claim

INSTALL = "pip install '.[hardware]' in the checkout's folder"
TRIES = 5  # of a transaction before it has failed


class Register(NamedTuple):
    """A place in a servo's control table.

    Attributes:
        address: of its first byte.
        size: bytes, little-endian.
        signed: whether it may be negative.
    """

    address: int
    size: int
    signed: bool = False


MODEL_NUMBER = Register(0, 2)
DRIVE_MODE = Register(10, 1)
OPERATING_MODE = Register(11, 1)
SECONDARY_ID = Register(12, 1)
TORQUE_ENABLE = Register(64, 1)
HARDWARE_ERROR = Register(70, 1)
BUS_WATCHDOG = Register(98, 1, signed=True)  # 20 ms; −1: it has stopped the servo
GOAL_PWM = Register(100, 2, signed=True)
PROFILE_VELOCITY = Register(112, 4)  # ms of a motion, if DRIVE_MODE says so
GOAL_POSITION = Register(116, 4, signed=True)
PRESENT_LOAD = Register(126, 2, signed=True)  # 0.1 % of an XL430's, mA (2.69 each) of an XM430's
PRESENT_POSITION = Register(132, 4, signed=True)
INPUT_VOLTAGE = Register(144, 2)  # 0.1 V
TEMPERATURE = Register(146, 1)  # °C

REVERSED, TIMED = 1, 4  # bits of DRIVE_MODE
POSITION, PWM = 3, 16  # of OPERATING_MODE
ERRORS = {0: "input voltage", 2: "overheating", 3: "encoder", 4: "electrical shock", 5: "overload"}  # bits

PSEUDO, PATIENCE = "/dev/pts/", 0.15  # s; simulated servos behind a pseudo-terminal share this machine's cores


class ServoError(ConnectionError):
    """A servo that does not answer, or refuses."""


class Bus:
    """Servos on a serial port that no other program has, spoken to in Protocol 2.0 by Robotis' own library.

    Args:
        port: such as "/dev/ttyUSB0".
        names: of the servos, by id, for messages.
        baud_rate: bits per second.

    Raises:
        ConnectionError: the port cannot be opened, or another program has it.
        ModuleNotFoundError: Robotis' library is not installed.
    """

    def __init__(self, port: str, names: Mapping[int, str], baud_rate: int = 1_000_000) -> None:
        self.names = names
        self._claim = claim(port)
        try:
            self._open(port, baud_rate)
        except BaseException:
            os.close(self._claim)
            raise

    def _open(self, port: str, baud_rate: int) -> None:
        import termios  # Windows has none

        try:
            import dynamixel_sdk
            from serial import SerialException
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{error}; {INSTALL}") from None

        self._sdk: Any = dynamixel_sdk
        self._gone = (OSError, termios.error)
        self.port, self.packets = dynamixel_sdk.PortHandler(port), dynamixel_sdk.PacketHandler(2.0)
        try:
            opened = self.port.setBaudRate(baud_rate)
        except (SerialException, OSError) as error:
            raise ConnectionError(f"the servos' port '{port}' cannot be opened ({error}); run mile-doctor") from None
        if not opened:
            raise ConnectionError(f"the servos' port '{port}' does not know {baud_rate} baud")
        if port.startswith(PSEUDO):
            self.port.setPacketTimeout = lambda length: self.port.setPacketTimeoutMillis(1000 * PATIENCE)

    def ping(self, servo: int, tries: int = TRIES) -> int | None:
        """Return the model number of a servo, None if it does not answer."""
        for _ in range(tries):
            model, result, _ = self._transact(self.packets.ping, self.port, servo)
            if result == self._sdk.COMM_SUCCESS:
                return model
        return None

    def read(self, register: Register, servos: Iterable[int]) -> dict[int, int]:
        """Read a register of several servos at once.

        Raises:
            ServoError: one of them does not answer.
        """
        found = self.read_bytes(register.address, register.size, servos)
        return {servo: int.from_bytes(data, "little", signed=register.signed) for servo, data in found.items()}

    def read_bytes(self, address: int, size: int, servos: Iterable[int]) -> dict[int, bytes]:
        """Read a part of the control table of several servos at once; see `read`."""
        servos = tuple(servos)
        group = self._sdk.GroupSyncRead(self.port, self.packets, address, size)
        for servo in servos:
            group.addParam(servo)
        for _ in range(TRIES):
            if self._transact(group.txRxPacket) == self._sdk.COMM_SUCCESS:
                return {servo: bytes(group.data_dict[servo]) for servo in servos}
        silent = [servo for servo in servos if self.ping(servo) is None]
        if not silent:
            raise ServoError(
                "the servos' answers arrive damaged; use a shorter cable, away from the motors', and try again"
            )
        raise ServoError(f"{self._called(silent)} does not answer; check its cable and the supply, then mile-doctor")

    def write(self, register: Register, values: Mapping[int, int]) -> None:
        """Write a register of several servos at once; nobody acknowledges it.

        Raises:
            ServoError: it could not be sent.
        """
        group = self._sdk.GroupSyncWrite(self.port, self.packets, register.address, register.size)
        for servo, value in values.items():
            group.addParam(servo, value.to_bytes(register.size, "little", signed=register.signed))
        for _ in range(TRIES):
            if self._transact(group.txPacket) == self._sdk.COMM_SUCCESS:
                return
        raise ServoError(f"nothing can be sent to {self._called(values)}; is the adapter still plugged in?")

    def set(self, register: Register, servo: int, value: int) -> None:
        """Write a register of one servo, which acknowledges it.

        Raises:
            ServoError: it does not answer, or refuses.
        """
        data = list(value.to_bytes(register.size, "little", signed=register.signed))
        result = error = 0
        write, address, size = self.packets.writeTxRx, register.address, register.size
        for _ in range(TRIES):
            result, error = self._transact(write, self.port, servo, address, size, data)
            if result == self._sdk.COMM_SUCCESS and not error & 0x7F:  # the highest bit only tells of HARDWARE_ERROR
                return
        why = self.packets.getTxRxResult(result) if result else self.packets.getRxPacketError(error & 0x7F)
        raise ServoError(f"{self._called([servo])} does not take {value} at address {register.address}: {why}")

    def close(self) -> None:
        """Close the port, and let another program have it."""
        try:
            self.port.closePort()
        finally:
            os.close(self._claim)

    def _transact(self, transaction: Callable[..., Any], *arguments: Any) -> Any:
        self.port.is_using = False  # as an interrupt within a transaction (Ctrl-C) leaves it, for ever
        try:
            return transaction(*arguments)
        except self._gone as error:
            raise ServoError(f"the servos' port is gone ({error}); plug the adapter in, then mile-doctor") from None

    def _called(self, servos: Iterable[int]) -> str:
        if len(servos := tuple(servos)) == len(self.names):
            return "every servo"
        return ", ".join(f"servo {servo} ({self.names[servo]})" for servo in servos)
