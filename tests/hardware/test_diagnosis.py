import sys

import numpy as np
import pytest

from mile.commands import doctor
from mile.hardware.diagnosis import examine
from mile.hardware.servos import Servos
from mile.hardware.simulated.bus import SimulatedBus
from mile.hardware.simulated.widowx import FAULTS, simulated_widowx
from mile.hardware.widowx import WidowX


class Eye:
    """A camera that sees noise, or the same picture for ever."""

    def __init__(self, bus: SimulatedBus, frozen: bool = False) -> None:
        self.bus, self.frozen = bus, frozen

    def read(self):
        return np.random.randint(0, 255, (4, 4, 3), np.uint8), 0.0 if self.frozen else self.bus.now()


def diagnose(fault=None, frozen=False):
    bus = simulated_widowx(fault=fault)
    findings = list(examine(WidowX(bus.port, clock=bus), lambda: Eye(bus, frozen)))
    bus.close()
    return findings


def test_a_healthy_arm_is_fit_to_work():
    assert all(finding.ok is not False for finding in diagnose())
    sound = [finding.part for finding in diagnose() if finding.ok]
    assert sum(part.startswith("servo") for part in sound) == 9 + 2


EXPECTED = {
    "dead_servo": ("servo 4 (elbow)", "does not answer"),
    "unplugged": ("servo 1 (waist)", "check its cable"),
    "overload": ("servo 2 (shoulder)", "reports overload"),
    "overheat": ("servo 7 (wrist angle)", "has 71 °C"),
    "low_voltage": ("servo 9 (gripper)", "gets 9.8 V"),
    "wrong_servo": ("servo 8 (wrist rotate)", "is model 1020, expected 1060"),
    "shadow_mismatch": ("servo 3 beside servo 2", "set its Homing_Offset"),
}


@pytest.mark.parametrize("fault", EXPECTED)
def test_each_fault_is_named_with_what_to_do(fault):
    part, words = EXPECTED[fault]
    wrong = {finding.part: finding.message for finding in diagnose(fault) if finding.ok is False}
    assert words in wrong[part]
    assert set(FAULTS) - set(EXPECTED) == {"dropped_packets", "corrupted_packets", "restart"}  # nothing to see at rest


def test_a_frozen_camera_and_an_absent_port_are_named():
    (wrong,) = (finding for finding in diagnose(frozen=True) if finding.ok is False)
    assert (wrong.part, wrong.message[:22]) == ("camera", "shows the same picture")
    first = next(examine(WidowX("/dev/nothing"), lambda: Eye(None)))
    assert first == ("port", False, "/dev/nothing is not there; plug the adapter in, and see: ls /dev/ttyUSB*")


def test_an_arm_that_another_program_has_is_left_alone():
    bus = simulated_widowx()
    at_work = Servos(bus.port)
    findings = examine(WidowX(bus.port, clock=bus), lambda: Eye(bus))
    (wrong,) = (finding for finding in findings if finding.ok is False)
    assert f"'{bus.port}' is in use by another program" in wrong.message
    assert at_work.ping(1) is not None
    at_work.close()
    bus.close()


def test_a_servo_that_falls_silent_under_the_doctors_eyes_is_named():
    bus = simulated_widowx()
    answer = bus._answer

    def answer_once(number, error, data):
        answer(number, error, data)
        if number == 4:
            bus.dead.add(4)

    bus._answer = answer_once
    findings = examine(WidowX(bus.port, clock=bus), lambda: Eye(bus))
    wrong = [finding.message[:32] for finding in findings if finding.ok is False]
    assert wrong == ["servo 4 (elbow) does not answer;"]
    Servos(bus.port).close()  # the doctor has released the port
    bus.close()


@pytest.mark.usefixtures("as_a_program")
def test_at_the_command_line_it_exits_with_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mile-doctor", "hardware=simulated", "hardware.fault=overheat"])
    with pytest.raises(SystemExit) as left:
        doctor.main()
    assert left.value.code == 1
    assert "not fit to work: servo 7 (wrist angle)" in capsys.readouterr().out
