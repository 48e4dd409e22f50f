"""Simulated servos behind a pseudo-terminal that speaks Protocol 2.0, so that the real driver drives them."""

import os
import random
import sys
import threading
from collections.abc import Callable, Mapping
from select import select

from mile.hardware.dynamixel import HARDWARE_ERROR, SECONDARY_ID
from mile.hardware.simulated.protocol import (
    PING,
    READ,
    REBOOT,
    STATUS,
    SYNC_READ,
    SYNC_WRITE,
    WRITE,
    Packet,
    Parser,
    encode,
)
from mile.hardware.simulated.servo import ALERT, Servo

TICK = 0.01  # s of simulated time between two updates of the servos
FIRMWARE = b"\x2d"
INSTRUCTION_ERROR = 2  # in an answer: no such instruction


class SimulatedBus:
    """Serves servos on a port of this machine, in a thread of its own; time passes only by `sleep`.

    Args:
        servos: Simulated servos, by id.
        plant: Function of the raw positions that the shafts are driven to and of the seconds that pass, which returns
            the shafts' positions and loads; None: the shafts follow at once.

    Attributes:
        port: Path of the port, for the driver to open.
        dropped: Share of the packets that get lost, in [0, 1].
        corrupted: Share of the answers that arrive damaged, in [0, 1].
        dead: Ids of the servos that are silent.

    Raises:
        ConnectionError: The system is not Linux.
    """

    def __init__(
        self,
        servos: Mapping[int, Servo],
        plant: Callable[[dict[int, float], float], tuple[Mapping[int, float], Mapping[int, int]]] | None = None,
    ) -> None:
        if sys.platform != "linux":  # a pseudo-terminal of macOS takes no such baud rate, Windows has none
            raise ConnectionError("simulated servos need Linux; on other systems, LunarLander and Meta-World run")
        import tty  # Windows has none

        # servos and faults
        self.servos, self.plant = servos, plant
        self.time = 0.0
        self.dropped = self.corrupted = 0.0
        self.dead: set[int] = set()
        self.random = random.Random(0)
        self.lock = threading.Lock()

        # port
        self._own, other = os.openpty()
        tty.setraw(other)
        self.port = os.ttyname(other)
        self._other = other  # stays open, because the port would end when the driver closes it

        # thread
        self._closing = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def now(self) -> float:
        """Return the simulated time, s."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            with self.lock:
                period = min(TICK, end - self.time)
                self.time += period
                self._update(period)

    def close(self) -> None:
        """Stop the thread and close the port."""
        self._closing.set()
        self.thread.join(2)
        os.close(self._own)
        os.close(self._other)

    def _update(self, period: float) -> None:
        """Move all shafts for a period, s."""
        wanted = {number: servo.setpoint(self.time, period) for number, servo in self.servos.items()}
        positions, loads = (wanted, {}) if self.plant is None else self.plant(wanted, period)
        for number, servo in self.servos.items():
            servo.set_shaft(positions[number], loads.get(number, 0))

    def _serve(self) -> None:
        parser = Parser()
        while not self._closing.is_set():
            if not select([self._own], [], [], 0.1)[0]:
                continue
            for packet in parser.feed(os.read(self._own, 4096)):
                with self.lock:
                    if self.random.random() >= self.dropped:
                        self._handle(packet)

    def _handle(self, packet: Packet) -> None:
        """Do what a packet says, and have the servos answer that must."""
        alive = {number: servo for number, servo in self.servos.items() if number not in self.dead}
        for servo in alive.values():
            servo.last_packet = self.time

        data = packet.parameters
        address, size = _address_and_size(data)
        if packet.instruction == SYNC_READ:
            for number in data[4:]:
                if number not in alive:
                    return  # the servos after a silent one wait for its answer
                self._answer(number, 0, bytes(alive[number].table[address : address + size]))
        elif packet.instruction == SYNC_WRITE:
            for start in range(4, len(data) - size, 1 + size):
                self._write(alive, data[start], address, data[start + 1 : start + 1 + size])
        elif packet.servo in alive:
            self._obey(alive, packet)

    def _obey(self, alive: Mapping[int, Servo], packet: Packet) -> None:
        """Do what a packet to one servo says, and have it answer."""
        servo, error, answer = alive[packet.servo], 0, b""
        address, size = _address_and_size(packet.parameters)
        if packet.instruction == PING:
            answer = bytes(servo.table[:2]) + FIRMWARE
        elif packet.instruction == READ:
            answer = bytes(servo.table[address : address + size])
        elif packet.instruction == WRITE:
            error = self._write(alive, packet.servo, address, packet.parameters[2:])
        elif packet.instruction == REBOOT:
            servo.reboot(self.time)
        else:
            error = INSTRUCTION_ERROR
        self._answer(packet.servo, error, answer)

    def _write(self, alive: Mapping[int, Servo], number: int, address: int, data: bytes) -> int:
        """Write to a servo and to its shadows; return its error."""
        for servo in alive.values():
            if servo.get(SECONDARY_ID) == number:
                servo.write(address, data, self.time)
        return alive[number].write(address, data, self.time) if number in alive else 0

    def _answer(self, number: int, error: int, data: bytes) -> None:
        alert = ALERT if self.servos[number].get(HARDWARE_ERROR) else 0
        answer = bytearray(encode(Packet(number, STATUS, bytes([error | alert]) + data)))
        if self.random.random() < self.corrupted:
            answer[self.random.randrange(len(answer))] ^= 0x10
        os.write(self._own, answer)


def _address_and_size(parameters: bytes) -> tuple[int, int]:
    """Return the first two numbers of an instruction's parameters, 2 bytes each."""
    return int.from_bytes(parameters[:2], "little"), int.from_bytes(parameters[2:4], "little")
