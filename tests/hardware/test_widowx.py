import itertools
import re
import time

import numpy as np
import pytest

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyError, SafetyKernel
from mile.hardware.simulated.widowx import FAULTS, inject, simulated_widowx
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import JOINT_HIGH, JOINT_LOW, JOINT_SERVOS, READY, SERVOS, SLEEP, angles_of


class Bench:
    """The driver on simulated servos, and where their shafts have been."""

    def __init__(self, fault=None, **options):
        self.way = []  # time, angles
        self.bus = simulated_widowx(self.follow, fault)
        self.arm = WidowX(self.bus.port, clock=self.bus, **options)

    def follow(self, wanted, period):
        self.way.append((self.bus.time, angles_of([wanted[it] for it in JOINT_SERVOS])))
        return wanted, {}

    def amid(self, happens):
        """Have something happen within the next step."""
        sleep = self.bus.sleep

        def once(seconds):
            sleep(seconds)
            happens()
            self.bus.sleep = sleep

        self.bus.sleep = once

    def holds_itself(self):
        return all(self.bus.servos[number].get(dxl.TORQUE_ENABLE) for number in JOINT_SERVOS)

    def wait(self, seconds):
        """Let time pass in silence, once everything that was sent has arrived."""
        self.arm.bus.ping(1)
        self.bus.sleep(seconds)

    def angles(self):
        return np.array(self.way[-1][1])

    def positions(self):
        return np.array([forward(np.array(angles))[:3, 3] for _, angles in self.way])

    def moved_last(self, since):
        """Seconds after a time until the shafts stood still."""
        times, angles = (np.array(it) for it in zip(*self.way, strict=True))
        moving = np.abs(np.diff(angles, axis=0)).max(1) > 1e-6
        last = times[1:][moving & (times[1:] > since)]
        return float(last[-1] - since) if len(last) else 0.0


@pytest.fixture
def make():
    made = []

    def build(*arguments, **options):
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield build
    for bench in made:
        bench.arm.close()
        bench.bus.close()


def test_it_wakes_moves_and_goes_to_rest(make):
    bench = make()
    bench.arm.connect()
    np.testing.assert_allclose(bench.arm.observe().position, forward(READY)[:3, 3], atol=2e-3)
    for servo in (3, 5):  # the shadows turn with their masters
        assert bench.bus.servos[servo].get(dxl.GOAL_POSITION) == bench.bus.servos[servo - 1].get(dxl.GOAL_POSITION)
    before, began = bench.arm.target, bench.bus.now()
    sent = [bench.arm.send_action(np.array([1, -0.5, -1, 1], np.float32)) for _ in range(5)]
    assert bench.bus.now() - began == pytest.approx(1.0, abs=0.01)  # 5 Hz
    moved = Limits().step * np.sum(sent, 0)[:3]
    np.testing.assert_allclose(bench.arm.observe().position - before, moved, atol=2e-3)
    np.testing.assert_allclose(sent[-1], [1, -0.5, -1, 1], atol=1e-6)
    assert forward(bench.angles())[2, 0] < -0.999  # still points down
    assert bench.arm.observe().gripper == 0
    assert bench.bus.servos[9].get(dxl.GOAL_PWM) == -250  # of 885: what squeezes and does not burn
    bench.arm.send_action(np.array([0, 0, 0, -1], np.float32))
    bench.wait(0.5)
    assert bench.arm.observe().gripper == 1
    bench.arm.close()
    np.testing.assert_allclose(bench.angles(), SLEEP, atol=2e-3)
    assert not any(servo.get(dxl.TORQUE_ENABLE) for servo in bench.bus.servos.values())


def test_nothing_leads_out_of_the_workspace(make):
    bench, rng = make(rate=20), np.random.default_rng(0)
    bench.arm.connect()
    start, total = bench.arm.target, np.zeros(3)
    direction = rng.uniform(-1, 1, 3)
    cut = set()
    for step in range(400):
        if step % 25 == 0:
            direction = rng.uniform(-1, 1, 3)
        sent = bench.arm.send_action(np.array([*(direction * 3), 1], np.float32))
        assert np.abs(sent).max() <= 1 + 1e-6
        total += sent[:3]
        cut |= set(bench.arm.clipped)
    assert {"step", "workspace"} <= cut
    np.testing.assert_allclose(bench.arm.target, start + Limits().step * total, atol=1e-4)
    bench.arm.close()
    low, high = np.array(Limits().low), np.array(Limits().high)
    assert (bench.positions() > low - 2e-3).all()
    assert (bench.positions() < high + 2e-3).all()
    speed = (
        np.abs(np.diff([angles for _, angles in bench.way], axis=0)).max() / np.diff([t for t, _ in bench.way]).max()
    )
    assert speed < 1.5 * Limits().joint_speed


def test_from_all_over_the_workspace_it_gets_back_to_where_episodes_begin(make):
    bench = make()
    bench.arm.connect()
    low, high = np.array(Limits().low), np.array(Limits().high)
    far_above = [(0.4, 0.05, 0.25), (0.4, -0.017, 0.25), (0.35, 0.25, 0.25)]  # the joints' own way arcs above the box
    for corner in [*itertools.product(*zip(low, high, strict=True)), *far_above]:
        for _ in range(25):
            wish = (np.array(corner) - bench.arm.target) / Limits().step
            bench.arm.send_action(np.array([*wish.clip(-1, 1), 1], np.float32))
        assert np.abs(bench.arm.target - forward(READY)[:3, 3]).max() > 0.05
        bench.arm.reset()
        np.testing.assert_allclose(bench.arm.angles, READY, atol=1e-6)
    assert (bench.positions()[200:] > low - 2e-3).all()  # after it came from its sleep
    assert (bench.positions()[200:] < high + 2e-3).all()


def test_an_interrupt_amid_a_transaction_ends_at_rest(make):
    bench = make()
    bench.arm.connect()
    read, port = bench.arm.bus.port.readPort, bench.arm.bus.port

    def interrupted(length):
        port.readPort = read
        raise KeyboardInterrupt

    port.readPort = interrupted
    with pytest.raises(KeyboardInterrupt):
        bench.arm.send_action(np.array([1, 0, 0, 1], np.float32))
    bench.arm.close()
    np.testing.assert_allclose(bench.angles(), SLEEP, atol=2e-3)
    assert not bench.bus.servos[1].get(dxl.TORQUE_ENABLE)


def test_a_policy_that_has_diverged_moves_nothing(make):
    bench = make()
    bench.arm.connect()
    with pytest.raises(SafetyError, match="must be finite"):
        bench.arm.send_action(np.array([np.nan, 0, 0, 0], np.float32))
    with pytest.raises(SafetyError, match="earlier fault"):
        bench.arm.send_action(np.zeros(4, np.float32))


def test_where_the_program_falls_silent_the_arm_holds_within_200_ms_and_goes_on_later(make):
    bench = make()
    bench.arm.connect()
    bench.arm.send_action(np.array([1, 0, 0, 0], np.float32))
    silent = bench.bus.now()
    bench.wait(2)
    assert bench.moved_last(silent) <= 0.2
    assert bench.bus.servos[1].get(dxl.BUS_WATCHDOG) == -1
    before = bench.arm.observe().position
    bench.arm.send_action(np.array([1, 0, 0, 0], np.float32))
    bench.wait(0.19)
    assert bench.arm.observe().position[0] - before[0] == pytest.approx(Limits().step, abs=2e-3)


BORNE = {"dropped_packets", "corrupted_packets", "shadow_mismatch", "wrong_servo"}  # or seen by mile-doctor alone


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in BORNE])
def test_a_fault_is_named_and_the_arm_holds(make, fault):
    bench = make()
    bench.arm.connect()
    for _ in range(3):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))
    then = bench.bus.now()
    bench.amid(lambda: inject(bench.bus, fault))
    with pytest.raises((SafetyError, ServoError), match="servo"):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))
    with pytest.raises(SafetyError, match="earlier fault"):
        bench.arm.reset()
    bench.wait(1)
    silent = {"dead_servo", "unplugged"}  # who does not hear ends the step, until their watchdogs stop them
    assert bench.moved_last(then) <= (0.2 if fault in silent else 0.07)  # the fault came after 50 ms
    bench.arm.close()  # holds, and does not go to rest
    bench.bus.sleep(1)
    assert bench.moved_last(then) <= 0.2
    assert bench.holds_itself() == (fault != "restart")


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


def test_the_guard_holds_whatever_it_meets_and_whoever_listens(make, hurried, monkeypatch):
    """The adapter is pulled out, and the terminal is gone: the port raises, and so does print."""
    bench = make()
    bench.arm.connect()
    bench.arm.send_action(np.array([0, 0, 0, 1], np.float32))

    def gone(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.print", gone)
    port = bench.arm.bus.port
    write, port.writePort = port.writePort, gone
    assert soon(lambda: bench.arm.frozen)
    port.writePort = write  # back in
    assert bench.arm.guard.thread.is_alive()
    with pytest.raises(SafetyError, match="since this was seen: the servos' port is gone"):
        bench.arm.send_action(np.zeros(4, np.float32))


def test_a_fault_outside_of_a_motion_holds_too_and_the_gripper_is_eased(make):
    bench = make()
    bench.arm.connect()
    bench.arm.grip(1.0)
    inject(bench.bus, "low_voltage")
    with pytest.raises(SafetyError, match="servo 1"):
        bench.arm.wait(0.5)
    assert bench.arm.frozen
    assert bench.bus.servos[9].get(dxl.GOAL_PWM) == -100


@pytest.mark.parametrize("fault", ["overheat", "restart", "unplugged"])
def test_a_fault_while_the_arm_is_left_alone_is_seen_and_ends_its_work(make, hurried, capsys, fault):
    bench = make()
    bench.arm.connect()
    bench.wait(1.0)  # its watchdogs have made it hold, which is no fault
    inject(bench.bus, fault)
    assert soon(lambda: bench.arm.fault is not None)
    bench.arm.guard.close()  # which has said so by then
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
    before = bench.angles()
    bench.arm.send_action(np.array([1, 0, 0, 1], np.float32))
    assert power.get(dxl.GOAL_PWM) == -250
    assert np.abs(bench.angles() - before).max() > 0.01


def test_an_arm_that_holds_after_a_fault_is_taken_over_without_letting_go(make):
    bench = make()
    bench.arm.connect()
    for _ in range(5):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))
    inject(bench.bus, "overheat")
    with pytest.raises(SafetyError):
        bench.arm.send_action(np.array([1, 0, 0, 1], np.float32))
    bench.arm.close()
    again = WidowX(bench.bus.port, clock=bench.bus)
    with pytest.raises(SafetyError, match="71 °C"):  # still hot
        again.connect()
    again.close()
    assert bench.holds_itself()
    bench.bus.servos[7].put(dxl.TEMPERATURE, 40)
    held, bench.way = [], []
    bench.bus.plant = lambda wanted, period: (held.append(bench.holds_itself()), bench.follow(wanted, period))[1]
    third = WidowX(bench.bus.port, clock=bench.bus)
    third.connect()
    assert held
    assert all(held)
    assert np.abs(np.diff([angles for _, angles in bench.way], axis=0)).max() < 0.02  # rad in 10 ms
    third.close()


def test_servos_are_set_up_once_and_not_while_the_arm_holds_itself_up(make):
    bench = make()
    for number in (3, 7, 9):
        bench.bus.servos[number].put(dxl.DRIVE_MODE, 0)
        bench.bus.servos[number].put(dxl.SECONDARY_ID, 255)
    bench.arm.connect()
    modes = {number: servo.get(dxl.DRIVE_MODE) for number, servo in bench.bus.servos.items()}
    assert modes == {1: 4, 2: 4, 3: 5, 4: 4, 5: 5, 6: 4, 7: 5, 8: 4, 9: 4}  # published; 4: profiles in time
    secondary = {number: servo.get(dxl.SECONDARY_ID) for number, servo in bench.bus.servos.items()}
    assert {number: it for number, it in secondary.items() if it != 255} == {3: 2, 5: 4}
    bench.arm.hold()
    bench.arm.close()
    bench.bus.servos[7].put(dxl.DRIVE_MODE, 4)
    again = WidowX(bench.bus.port, clock=bench.bus)
    with pytest.raises(SafetyError, match="support it, and switch it off and on"):
        again.connect()
    again.close()
    assert bench.holds_itself()


def test_a_lost_goal_is_sent_again_and_a_blocked_joint_is_noticed(make):
    bench = make()
    bench.arm.connect()
    write, lost = bench.arm.bus.write, []
    bench.arm.bus.write = lambda register, values: lost.append(1) if len(lost) < 2 else write(register, values)
    start = bench.arm.observe().position
    bench.arm.send_action(np.array([0, 1, 0, 1], np.float32))
    assert len(lost) == 2
    assert bench.arm.observe().position[1] - start[1] == pytest.approx(Limits().step, abs=2e-3)
    bench.bus.plant = lambda wanted, period: ({**wanted, 1: 2048}, {})  # the waist is stuck

    def go_on():
        for _ in range(12):
            bench.arm.send_action(np.array([-0.5, 1, 0, 1], np.float32))

    with pytest.raises(SafetyError, match=r"servo 1 \(waist\) is \d+ raw from where it was sent"):
        go_on()


@pytest.mark.parametrize("rate", [5, 20])
def test_no_accepted_way_leaves_the_workspace(rate):
    limits, rng, accepted = Limits(), np.random.default_rng(0), 0
    kernel = SafetyKernel(limits, JOINT_LOW, JOINT_HIGH)
    for _ in range(300):
        start = rng.uniform(JOINT_LOW, JOINT_HIGH)
        inside = forward(start)[:3, 3]
        if not ((inside > limits.low) & (inside < limits.high)).all():
            continue
        try:
            way = kernel.path(start, READY, 1 / rate)
        except SafetyError:
            continue
        accepted += 1
        places = np.array([forward(it)[:3, 3] for it in way])
        assert (places > np.array(limits.low) - 2.1e-3).all()
        assert (places < np.array(limits.high) + 2.1e-3).all()
    assert accepted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step": -0.02}, "step must be above 0"),
        ({"joint_speed": 100}, "joint_speed must be above 0 and at most 3"),
        ({"low": (0.5, -0.15, 0.05)}, "must be below its high"),
        ({"low": (0.15, -0.15, 0.05)}, "would leave the workspace"),
    ],
)
def test_limits_that_cannot_be_are_refused_before_anything_moves(wrong, message):
    with pytest.raises((ValueError, SafetyError), match=message):
        WidowX("/dev/nothing", limits=Limits(**wrong))


@pytest.mark.parametrize("fault", ["dropped_packets", "corrupted_packets"])
def test_a_bad_line_is_borne(make, fault):
    bench = make(fault)
    bench.arm.connect()
    for _ in range(20):
        bench.arm.send_action(np.array([0, 1, 0, 0], np.float32))
    assert bench.arm.target[1] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("dead_servo", "servo 4 \\(elbow\\) does not answer"),
        ("wrong_servo", "servo 8 .* is model 1020, expected 1060"),
        ("shadow_mismatch", "servo 3 .* does not read as servo 2"),
    ],
)
def test_an_arm_that_is_not_whole_is_not_moved(make, fault, message):
    bench = make(fault)
    with pytest.raises(ServoError, match=message):
        bench.arm.connect()
    assert not any(servo.get(dxl.TORQUE_ENABLE) for servo in bench.bus.servos.values())


def test_a_port_that_is_not_there_is_named():
    with pytest.raises(ConnectionError, match=r"'/dev/nothing' cannot be opened .*mile-doctor"):
        WidowX("/dev/nothing").connect()
    assert set(SERVOS) == set(range(1, 10))
