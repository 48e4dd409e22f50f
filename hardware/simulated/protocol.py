"""Robotis' Protocol 2.0 from the servos' side: packets out of a stream of bytes, and into one.

Source: Robotis' e-manual of Protocol 2.0.
"""

from typing import NamedTuple

HEADER = b"\xff\xff\xfd\x00"
STATUS = 0x55
BROADCAST = 0xFE
PING, READ, WRITE, REBOOT, SYNC_READ, SYNC_WRITE = 1, 2, 3, 8, 0x82, 0x83
LONGEST = 512  # bytes of a packet


class Packet(NamedTuple):
    """What is sent.

    Attributes:
        servo: id of who is meant, or who answers.
        instruction: what is to be done, or STATUS.
        parameters: of it; of an answer, the error comes first.
    """

    servo: int
    instruction: int
    parameters: bytes


class Parser:
    """Finds packets in bytes that come in any pieces; what is none is skipped."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Take more bytes; return the packets that are whole now."""
        self.buffer += data
        found = []
        while True:
            start = self.buffer.find(HEADER)
            if start < 0:
                del self.buffer[: max(0, len(self.buffer) - len(HEADER) + 1)]  # a header may have begun
                return found
            del self.buffer[:start]
            if len(self.buffer) < 7:
                return found
            length = int.from_bytes(self.buffer[5:7], "little")
            if not 3 <= length <= LONGEST:
                del self.buffer[: len(HEADER)]
                continue
            if len(self.buffer) < 7 + length:
                return found
            whole = bytes(self.buffer[: 7 + length])
            if checksum(whole[:-2]) != int.from_bytes(whole[-2:], "little"):
                del self.buffer[: len(HEADER)]
                continue
            del self.buffer[: 7 + length]
            found.append(Packet(whole[4], whole[7], whole[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")))


def encode(packet: Packet) -> bytes:
    """Return the bytes of a packet."""
    stuffed = packet.parameters.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
    length = (len(stuffed) + 3).to_bytes(2, "little")
    body = HEADER + bytes([packet.servo]) + length + bytes([packet.instruction]) + stuffed
    return body + checksum(body).to_bytes(2, "little")


def checksum(data: bytes) -> int:
    """Return the CRC-16 of bytes (polynomial 0x8005, most significant bit first, from 0)."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ TABLE[(crc >> 8) ^ byte]
    return crc


def _entry(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


TABLE = [_entry(byte) for byte in range(256)]
