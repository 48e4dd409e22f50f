"""Robotis' Protocol 2.0 from the servos' side: decodes packets from a stream of bytes, and encodes them.

Source: Robotis' e-manual of Protocol 2.0.
"""

from typing import NamedTuple

HEADER = b"\xff\xff\xfd\x00"
STATUS = 0x55
BROADCAST = 0xFE
PING, READ, WRITE, REBOOT, SYNC_READ, SYNC_WRITE = 1, 2, 3, 8, 0x82, 0x83
MAX_LENGTH = 512  # bytes of a packet, as it says itself


class Packet(NamedTuple):
    """A packet on the bus.

    Attributes:
        servo: Id of the servo that must act, or that answers.
        instruction: Instruction to the servo; STATUS in an answer.
        parameters: Parameters of the instruction; in an answer, the error and then the data.
    """

    servo: int
    instruction: int
    parameters: bytes


class Parser:
    """Finds packets in bytes that arrive in pieces of any size; bytes that belong to no packet are skipped."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Add bytes to the buffer; return the packets that are complete now."""
        self.buffer += data
        packets = []
        while True:
            # find a header
            start = self.buffer.find(HEADER)
            if start < 0:
                del self.buffer[: max(0, len(self.buffer) - len(HEADER) + 1)]  # the last bytes may begin a header
                return packets
            del self.buffer[:start]

            # length
            if len(self.buffer) < 7:
                return packets
            length = int.from_bytes(self.buffer[5:7], "little")
            if not 3 <= length <= MAX_LENGTH:
                del self.buffer[: len(HEADER)]
                continue

            # checksum
            if len(self.buffer) < 7 + length:
                return packets
            packet = bytes(self.buffer[: 7 + length])
            if checksum(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
                del self.buffer[: len(HEADER)]
                continue

            # content
            del self.buffer[: 7 + length]
            parameters = packet[8:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
            packets.append(Packet(packet[4], packet[7], parameters))


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


def _checksum_of_byte(byte: int) -> int:
    crc = byte << 8
    for _ in range(8):
        crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
    return crc & 0xFFFF


TABLE = [_checksum_of_byte(byte) for byte in range(256)]
