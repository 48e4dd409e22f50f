import errno
import fcntl
import os
import subprocess
import sys
import termios
import tty

import numpy as np
import pytest

from mile.hardware import port
from mile.hardware.dynamixel import Bus
from mile.hardware.port import claim
from mile.hardware.simulated.widowx import simulated_widowx
from mile.hardware.widowx import WidowX

HOLD_PORT = """
import sys, time
from mile.hardware.port import claim
claim(sys.argv[1])
print("has it", flush=True)
time.sleep(60)
"""


@pytest.fixture
def line():
    """A serial line: the far end's descriptor, and the path of the port."""
    far, near = os.openpty()
    tty.setraw(near)
    yield far, os.ttyname(near)
    os.close(far)
    os.close(near)


def test_a_second_program_is_told_and_changes_nothing_on_the_line(line):
    far, path = line
    first = Bus(path, {})
    os.write(far, b"answer")
    before = termios.tcgetattr(first.port.ser.fd)
    with pytest.raises(ConnectionError, match=f"'{path}' is in use by another program.*fuser -v {path}$"):
        Bus(path, {}, baud_rate=57_600)
    assert termios.tcgetattr(first.port.ser.fd) == before
    assert first.port.readPort(6) == b"answer"
    first.close()
    Bus(path, {}).close()


def test_an_arm_at_work_goes_on_when_a_second_program_asks_for_it():
    bus = simulated_widowx()
    arm, second = WidowX(bus.port, clock=bus), WidowX(bus.port, clock=bus)
    arm.connect()
    for _ in range(3):
        with pytest.raises(ConnectionError, match="in use by another program"):
            second.connect()
        second.close()
        arm.send_action(np.array([0.2, 0, 0, 1], np.float32))
    assert not arm.frozen
    arm.close()
    second.connect()  # it is free now
    second.close()
    bus.close()


def test_a_killed_program_releases_the_port(line):
    with subprocess.Popen([sys.executable, "-c", HOLD_PORT, line[1]], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(ConnectionError, match="in use"):
            claim(line[1])
        other.kill()
    os.close(claim(line[1]))


def test_a_port_that_no_second_program_may_open_is_in_use_too(line, monkeypatch):
    """As root may open it all the same, the kernel's answer to another user is given here."""

    def busy(*arguments):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(port.os, "open", busy)
    with pytest.raises(ConnectionError, match="in use by another program"):
        claim(line[1])


def test_where_there_are_no_locks_the_port_works_with_a_warning(line, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="cannot be locked .No locks available.; see that no other program uses it"):
        Bus(line[1], {}).close()


def test_a_file_that_is_no_serial_port_is_not_kept_open(tmp_path):
    plain = tmp_path / "file"
    plain.touch()
    with pytest.raises(ConnectionError, match=r"cannot be opened .*mile-doctor"):
        Bus(str(plain), {})
    os.close(claim(str(plain)))


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_simulated_servos_say_that_they_need_linux(monkeypatch, system):
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(ConnectionError, match="simulated servos need Linux"):
        simulated_widowx()


def test_on_windows_the_arm_says_that_it_cannot_be_driven(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ConnectionError, match="needs Linux or macOS"):
        WidowX("COM3").connect()
