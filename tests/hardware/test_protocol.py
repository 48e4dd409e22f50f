import dynamixel_sdk
from hypothesis import given
from hypothesis import strategies as st

from mile.hardware.simulated.protocol import BROADCAST, READ, STATUS, SYNC_WRITE, Packet, Parser, checksum, encode

PACKETS = st.builds(Packet, st.integers(0, 252), st.sampled_from([READ, SYNC_WRITE, STATUS]), st.binary(max_size=60))


@given(st.binary(max_size=100))
def test_the_checksum_is_robotis(data):
    assert checksum(data) == dynamixel_sdk.PacketHandler(2.0).updateCRC(0, list(data), len(data))


class Wire:
    """A port of Robotis' library that keeps what is written, and gives it back."""

    is_using = False

    def clearPort(self):  # noqa: N802 (its name there)
        pass

    def writePort(self, packet):  # noqa: N802
        self.written = bytes(packet)
        return len(packet)

    def readPort(self, length):  # noqa: N802
        part, self.written = self.written[:length], self.written[length:]
        return part


@given(st.integers(0, 252), st.binary(min_size=1, max_size=12).filter(lambda data: b"\xff\xff\xfd" not in data))
def test_packets_that_robotis_library_writes_are_read(servo, data):
    """The data hold no header: release 4.1 of the library forgets to stuff it, and no value that we write holds one."""
    wire = Wire()
    assert dynamixel_sdk.PacketHandler(2.0).writeTxOnly(wire, servo, 116, len(data), list(data)) == 0
    assert Parser().feed(wire.written) == [Packet(servo, 3, b"\x74\x00" + data)]


@given(st.integers(0, 252), st.binary(max_size=12), st.binary(max_size=12))
def test_robotis_library_reads_what_we_write(servo, before, after):
    wire = Wire()
    data = before + b"\xff\xff\xfd" + after
    wire.written = encode(Packet(servo, STATUS, b"\x00" + data))
    received, result = dynamixel_sdk.PacketHandler(2.0).rxPacket(wire, False)
    assert result == dynamixel_sdk.COMM_SUCCESS
    assert bytes(received[9 : 9 + len(data)]) == data


@given(st.lists(st.one_of(PACKETS, st.binary(max_size=30)), max_size=8), st.integers(1, 7))
def test_packets_are_found_in_noise_and_in_pieces(parts, size):
    """Noise may hide the packet behind it, as on a real line, but no packet comes out that was not sent."""
    stream = b"".join(encode(part) if isinstance(part, Packet) else part for part in parts)
    parser, received = Parser(), []
    for start in range(0, len(stream), size):
        received += parser.feed(stream[start : start + size])

    sent = [part for part in parts if isinstance(part, Packet)]
    assert all(packet in sent for packet in received)
    if len(sent) == len(parts) and not any(b"\xff\xff\xfd" in packet.parameters + b"\xff\xff" for packet in sent):
        assert received == sent


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_no_bytes_crash_the_parser_or_pile_up(pieces):
    parser = Parser()
    for piece in pieces:
        parser.feed(piece)
        assert len(parser.buffer) <= 7 + 512 + 200
    parser.feed(bytes(600))  # a packet that had begun is over
    packet = Packet(BROADCAST, READ, b"")
    assert packet in parser.feed(encode(packet) + bytes(600))
