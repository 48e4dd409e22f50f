"""The servos' serial bus: registers by name; every transaction is repeated if it fails, every failure is named.

Source: Robotis' e-manual of Protocol 2.0 and of the X series' control table.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from mile.hardware.port import claim

INSTALL = "pip install '.[hardware]' in the checkout's folder"
TRIES = 5  # attempts at a transaction before it counts as failed


class Register(NamedTuple):
    """A place in a servo's control table.

    Attributes:
        address: Address of its first byte.
        size: Number of bytes, little-endian.
        signed: Whether the value may be negative.
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
BUS_WATCHDOG = Register(98, 1, signed=True)  # in units of 20 ms; −1: the watchdog has stopped the servo
GOAL_PWM = Register(100, 2, signed=True)
PROFILE_VELOCITY = Register(112, 4)  # duration of a motion in ms, if DRIVE_MODE has the bit TIMED
GOAL_POSITION = Register(116, 4, signed=True)
PRESENT_LOAD = Register(126, 2, signed=True)  # XL430: in units of 0.1 %; XM430: in units of 2.69 mA
PRESENT_POSITION = Register(132, 4, signed=True)
INPUT_VOLTAGE = Register(144, 2)  # in units of 0.1 V
TEMPERATURE = Register(146, 1)  # °C

REVERSED, TIMED = 1, 4  # bits of DRIVE_MODE
POSITION_MODE, PWM_MODE = 3, 16  # values of OPERATING_MODE
ERROR_BITS = {  # of HARDWARE_ERROR
    0: "input voltage",
    2: "overheating",
    3: "encoder",
    4: "electrical shock",
    5: "overload",
}

PSEUDO_TERMINALS = "/dev/pts/"  # simulated servos are behind one, and share this machine's cores
PSEUDO_TIMEOUT = 0.15  # s, for an answer of a simulated servo


class ServoError(ConnectionError):
    """A servo does not answer, or refuses."""


class Bus:
    """Servos on a serial port that this program alone uses, addressed in Protocol 2.0 by Robotis' own library.

    Args:
        port: Path of the serial port, such as "/dev/ttyUSB0".
        names: Names of the servos by id, for messages.
        baud_rate: Speed of the line, bits per second.

    Raises:
        ConnectionError: The port cannot be opened, or another program has it.
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
        self._port_errors = (OSError, termios.error)  # raised by a port that has been unplugged
        self.port, self.packets = dynamixel_sdk.PortHandler(port), dynamixel_sdk.PacketHandler(2.0)
        try:
            opened = self.port.setBaudRate(baud_rate)
        except (SerialException, OSError) as error:
            raise ConnectionError(f"the servos' port '{port}' cannot be opened ({error}); run mile-doctor") from None

        if not opened:
            raise ConnectionError(f"the servos' port '{port}' does not know {baud_rate} baud")
        if port.startswith(PSEUDO_TERMINALS):
            self.port.setPacketTimeout = lambda length: self.port.setPacketTimeoutMillis(1000 * PSEUDO_TIMEOUT)

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
            ServoError: A servo does not answer.
        """
        contents = self.read_bytes(register.address, register.size, servos)
        return {servo: int.from_bytes(data, "little", signed=register.signed) for servo, data in contents.items()}

    def read_bytes(self, address: int, size: int, servos: Iterable[int]) -> dict[int, bytes]:
        """Read a part of the control table of several servos at once; see `read`."""
        servos = tuple(servos)
        group = self._sdk.GroupSyncRead(self.port, self.packets, address, size)
        for servo in servos:
            group.addParam(servo)
        for _ in range(TRIES):
            if self._transact(group.txRxPacket) == self._sdk.COMM_SUCCESS:
                return {servo: bytes(group.data_dict[servo]) for servo in servos}

        # why it failed
        silent = [servo for servo in servos if self.ping(servo) is None]
        if not silent:
            raise ServoError(
                "the servos' answers arrive damaged; use a shorter cable, away from the motors', and try again"
            )
        raise ServoError(f"{self._describe(silent)} does not answer; check its cable and the supply, then mile-doctor")

    def write(self, register: Register, values: Mapping[int, int]) -> None:
        """Write a register of several servos at once; the servos do not acknowledge it.

        Raises:
            ServoError: The packet could not be sent.
        """
        group = self._sdk.GroupSyncWrite(self.port, self.packets, register.address, register.size)
        for servo, value in values.items():
            group.addParam(servo, value.to_bytes(register.size, "little", signed=register.signed))
        for _ in range(TRIES):
            if self._transact(group.txPacket) == self._sdk.COMM_SUCCESS:
                return
        raise ServoError(f"nothing can be sent to {self._describe(values)}; is the adapter still plugged in?")

    def set(self, register: Register, servo: int, value: int) -> None:
        """Write a register of one servo, which acknowledges it.

        Raises:
            ServoError: The servo does not answer, or refuses.
        """
        data = list(value.to_bytes(register.size, "little", signed=register.signed))
        write, address, size = self.packets.writeTxRx, register.address, register.size
        result = error = 0
        for _ in range(TRIES):
            result, error = self._transact(write, self.port, servo, address, size, data)
            error &= 0x7F  # the highest bit is no refusal: it only points to HARDWARE_ERROR
            if result == self._sdk.COMM_SUCCESS and not error:
                return

        # why it failed
        reason = self.packets.getTxRxResult(result) if result else self.packets.getRxPacketError(error)
        raise ServoError(f"{self._describe([servo])} does not take {value} at address {register.address}: {reason}")

    def close(self) -> None:
        """Close the port, so that another program can have it."""
        try:
            self.port.closePort()
        finally:
            os.close(self._claim)

    def _transact(self, transaction: Callable[..., Any], *arguments: Any) -> Any:
        self.port.is_using = False  # an interrupt within a transaction (Ctrl-C) would leave it True for ever
        try:
            return transaction(*arguments)
        except self._port_errors as error:
            raise ServoError(f"the servos' port is gone ({error}); plug the adapter in, then mile-doctor") from None

    def _describe(self, servos: Iterable[int]) -> str:
        servos = tuple(servos)
        if len(servos) == len(self.names):
            return "every servo"
        return ", ".join(f"servo {servo} ({self.names[servo]})" for servo in servos)
