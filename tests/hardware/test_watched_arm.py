import re
import time

import numpy as np
import pytest

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.safety import Limits, SafetyError
from mile.hardware.simulated.widowx import FAULTS, inject

HARMLESS = {"dropped_packets", "corrupted_packets", "shadow_mismatch", "wrong_servo"}  # or only mile-doctor sees them


@pytest.fixture
def hurried(monkeypatch):
    """A guard that does not wait for seconds."""
    monkeypatch.setattr("mile.hardware.guard.CHECK_PERIOD", 0.02)
    monkeypatch.setattr("mile.hardware.guard.UNATTENDED_AFTER", 0.1)
    monkeypatch.setattr("mile.hardware.watched_arm.EASED_AFTER", 0.3)


def soon(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in HARMLESS])
def test_a_fault_is_named_and_the_arm_holds(make, fault):
    bench = make()
    bench.arm.connect()
    for _ in range(3):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))

    # the fault
    then = bench.bus.now()
    bench.amid(lambda: inject(bench.bus, fault))
    with pytest.raises((SafetyError, ServoError), match="servo"):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))
    with pytest.raises(SafetyError, match="earlier fault"):
        bench.arm.reset()

    # the arm holds
    bench.wait(1)
    silent = {"dead_servo", "unplugged"}  # silent servos end the step, until their watchdogs stop them
    assert bench.moved_last(then) <= (0.2 if fault in silent else 0.07)  # the fault came after 50 ms

    # even when it is closed
    bench.arm.close()
    bench.bus.sleep(1)
    assert bench.moved_last(then) <= 0.2
    assert bench.holds_itself() == (fault != "restart")


def test_a_fault_outside_of_a_motion_holds_too_and_the_gripper_is_eased(make):
    bench = make()
    bench.arm.connect()
    bench.arm.grip(1.0)
    inject(bench.bus, "low_voltage")
    with pytest.raises(SafetyError, match="servo 1"):
        bench.arm.wait(0.5)
    assert bench.arm.frozen
    assert bench.bus.servos[9].get(dxl.GOAL_PWM) == -100


def test_where_the_program_falls_silent_the_arm_holds_within_200_ms_and_goes_on_later(make):
    bench = make()
    bench.arm.connect()
    bench.arm.send_action(np.array([1, 0, 0, 0], np.float32))
    silent = bench.bus.now()
    bench.wait(2)
    assert bench.moved_last(silent) <= 0.2
    assert bench.bus.servos[1].get(dxl.BUS_WATCHDOG) == -1

    # it goes on
    before = bench.arm.observe().position
    bench.arm.send_action(np.array([1, 0, 0, 0], np.float32))
    bench.wait(0.19)
    assert bench.arm.observe().position[0] - before[0] == pytest.approx(Limits().step, abs=2e-3)


def test_a_lost_goal_is_sent_again_and_a_blocked_joint_is_noticed(make):
    bench = make()
    bench.arm.connect()
    write, lost = bench.arm.bus.write, []

    def write_or_lose(register, values):
        if len(lost) < 2:
            lost.append(values)
        else:
            write(register, values)

    # two goals get lost
    bench.arm.bus.write = write_or_lose
    start = bench.arm.observe().position
    bench.arm.send_action(np.array([0, 1, 0, 1], np.float32))
    assert len(lost) == 2
    assert bench.arm.observe().position[1] - start[1] == pytest.approx(Limits().step, abs=2e-3)

    # the waist is stuck
    bench.bus.plant = lambda wanted, period: ({**wanted, 1: 2048}, {})

    def go_on():
        for _ in range(12):
            bench.arm.send_action(np.array([-0.5, 1, 0, 1], np.float32))

    with pytest.raises(SafetyError, match=r"servo 1 \(waist\) is \d+ raw from where it was sent"):
        go_on()


@pytest.mark.parametrize("fault", ["dropped_packets", "corrupted_packets"])
def test_lost_and_damaged_packets_are_tolerated(make, fault):
    bench = make(fault)
    bench.arm.connect()
    for _ in range(20):
        bench.arm.send_action(np.array([0, 1, 0, 0], np.float32))
    assert bench.arm.target[1] == pytest.approx(0.25)


def test_the_guard_holds_the_arm_whatever_goes_wrong_and_even_if_nobody_listens(make, hurried, monkeypatch):
    """The adapter is pulled out, and the terminal is gone: the port raises, and so does print."""
    bench = make()
    bench.arm.connect()
    bench.arm.send_action(np.array([0, 0, 0, 1], np.float32))

    def gone(*arguments, **options):
        raise OSError(5, "Input/output error")

    # pull it out
    monkeypatch.setattr("builtins.print", gone)
    port = bench.arm.bus.port
    write, port.writePort = port.writePort, gone
    assert soon(lambda: bench.arm.frozen)

    # plug it in again
    port.writePort = write
    assert bench.arm.guard.thread.is_alive()
    with pytest.raises(SafetyError, match="since this was seen: the servos' port is gone"):
        bench.arm.send_action(np.zeros(4, np.float32))


@pytest.mark.parametrize("fault", ["overheat", "restart", "unplugged"])
def test_a_fault_while_the_arm_is_left_alone_is_seen_and_ends_its_work(make, hurried, capsys, fault):
    bench = make()
    bench.arm.connect()
    bench.wait(1.0)  # its watchdogs have made it hold, which is no fault

    # a fault
    inject(bench.bus, fault)
    assert soon(lambda: bench.arm.fault is not None)
    bench.arm.guard.close()  # it has printed the fault by then
    assert f"error: {bench.arm.fault}; the arm holds" in capsys.readouterr().out
    with pytest.raises(SafetyError, match=f"since this was seen: {re.escape(str(bench.arm.fault))}"):
        bench.arm.send_action(np.zeros(4, np.float32))


def test_an_arm_that_is_left_alone_squeezes_less_and_goes_on_as_before(make, hurried):
    bench = make()
    bench.arm.connect()
    bench.arm.send_action(np.array([0, 0, 0, 1], np.float32))
    power = bench.bus.servos[9]
    assert power.get(dxl.GOAL_PWM) == -250
    assert soon(lambda: power.get(dxl.GOAL_PWM) == -100)
    assert not bench.arm.frozen

    # it goes on
    before = bench.angles()
    bench.arm.send_action(np.array([1, 0, 0, 1], np.float32))
    assert power.get(dxl.GOAL_PWM) == -250
    assert np.abs(bench.angles() - before).max() > 0.01
