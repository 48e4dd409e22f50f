import itertools

import numpy as np
import pytest

from mile.hardware import dynamixel as dxl
from mile.hardware.dynamixel import ServoError
from mile.hardware.kinematics import forward
from mile.hardware.safety import Limits, SafetyError
from mile.hardware.simulated.widowx import inject
from mile.hardware.widowx import WidowX
from mile.hardware.wx250s import READY, SERVOS, SLEEP


def test_the_arm_wakes_moves_and_goes_to_rest(make):
    # it wakes
    bench = make()
    bench.arm.connect()
    np.testing.assert_allclose(bench.arm.observe().position, forward(READY)[:3, 3], atol=2e-3)
    for servo in (3, 5):  # the shadows turn with their masters
        assert bench.bus.servos[servo].get(dxl.GOAL_POSITION) == bench.bus.servos[servo - 1].get(dxl.GOAL_POSITION)

    # it moves
    before, began = bench.arm.target, bench.bus.now()
    sent = [bench.arm.send_action(np.array([1, -0.5, -1, 1], np.float32)) for _ in range(5)]
    assert bench.bus.now() - began == pytest.approx(1.0, abs=0.01)  # 5 Hz
    moved = Limits().step * np.sum(sent, 0)[:3]
    np.testing.assert_allclose(bench.arm.observe().position - before, moved, atol=2e-3)
    np.testing.assert_allclose(sent[-1], [1, -0.5, -1, 1], atol=1e-6)
    assert forward(bench.angles())[2, 0] < -0.999  # still points down

    # it squeezes, and opens
    assert bench.arm.observe().gripper == 0
    assert bench.bus.servos[9].get(dxl.GOAL_PWM) == -250  # of 885: squeezes and does not burn the motor
    bench.arm.send_action(np.array([0, 0, 0, -1], np.float32))
    bench.wait(0.5)
    assert bench.arm.observe().gripper == 1

    # it rests
    bench.arm.close()
    np.testing.assert_allclose(bench.angles(), SLEEP, atol=2e-3)
    assert not any(servo.get(dxl.TORQUE_ENABLE) for servo in bench.bus.servos.values())


def test_nothing_leads_out_of_the_workspace(make):
    bench, rng = make(rate=20), np.random.default_rng(0)
    bench.arm.connect()

    # random directions, three times too fast
    start, total = bench.arm.target, np.zeros(3)
    direction = rng.uniform(-1, 1, 3)
    clipped = set()
    for step in range(400):
        if step % 25 == 0:
            direction = rng.uniform(-1, 1, 3)
        sent = bench.arm.send_action(np.array([*(direction * 3), 1], np.float32))
        assert np.abs(sent).max() <= 1 + 1e-6
        total += sent[:3]
        clipped |= set(bench.arm.clipped)
    assert {"step", "workspace"} <= clipped
    np.testing.assert_allclose(bench.arm.target, start + Limits().step * total, atol=1e-4)
    bench.arm.close()

    # the way stays inside
    low, high = np.array(Limits().low), np.array(Limits().high)
    assert (bench.positions() > low - 2e-3).all()
    assert (bench.positions() < high + 2e-3).all()

    # and is slow enough
    turns = np.abs(np.diff([angles for _, angles in bench.way], axis=0))
    periods = np.diff([then for then, _ in bench.way])
    speed = turns.max() / periods.max()
    assert speed < 1.5 * Limits().joint_speed


def test_from_all_over_the_workspace_it_gets_back_to_where_episodes_begin(make):
    bench = make()
    bench.arm.connect()
    low, high = np.array(Limits().low), np.array(Limits().high)
    far_above = [(0.4, 0.05, 0.25), (0.4, -0.017, 0.25), (0.35, 0.25, 0.25)]  # the joints' own way arcs above the box

    # there and back
    for corner in [*itertools.product(*zip(low, high, strict=True)), *far_above]:
        for _ in range(25):
            wish = (np.array(corner) - bench.arm.target) / Limits().step
            bench.arm.send_action(np.array([*wish.clip(-1, 1), 1], np.float32))
        assert np.abs(bench.arm.target - forward(READY)[:3, 3]).max() > 0.05
        bench.arm.reset()
        np.testing.assert_allclose(bench.arm.angles, READY, atol=1e-6)

    # the way stays inside
    assert (bench.positions()[200:] > low - 2e-3).all()  # after it came from its sleep
    assert (bench.positions()[200:] < high + 2e-3).all()


@pytest.mark.parametrize("floor", [0.10, 0.15])
def test_limits_within_which_the_arm_could_wake_and_not_go_to_rest_are_refused(make, floor):
    with pytest.raises(SafetyError, match="would leave the workspace"):
        make(limits=Limits(low=(0.10, -0.15, floor)))


def test_limits_within_which_a_sound_joint_would_count_as_blocked_are_refused(make):
    with pytest.raises(ValueError, match=r"joint_speed 3.0 rad/s turns a joint by 34° in a step at 5 Hz, and one that"):
        make(limits=Limits(joint_speed=3.0))
    make(limits=Limits(joint_speed=3.0), rate=10.0)


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


def test_an_arm_that_holds_after_a_fault_is_taken_over_without_letting_go(make):
    bench = make()
    bench.arm.connect()
    for _ in range(5):
        bench.arm.send_action(np.array([1, 1, -1, 1], np.float32))

    # a fault
    inject(bench.bus, "overheat")
    with pytest.raises(SafetyError):
        bench.arm.send_action(np.array([1, 0, 0, 1], np.float32))
    bench.arm.close()

    # still too hot
    again = WidowX(bench.bus.port, clock=bench.bus)
    with pytest.raises(SafetyError, match="71 °C"):
        again.connect()
    again.close()
    assert bench.holds_itself()

    # cool enough
    bench.bus.servos[7].put(dxl.TEMPERATURE, 40)
    held, bench.way = [], []

    def follow(wanted, period):
        held.append(bench.holds_itself())
        return bench.follow(wanted, period)

    bench.bus.plant = follow
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
    assert {number: master for number, master in secondary.items() if master != 255} == {3: 2, 5: 4}

    # holds itself up, and is not set up
    bench.arm.hold()
    bench.arm.close()
    bench.bus.servos[7].put(dxl.DRIVE_MODE, 4)
    again = WidowX(bench.bus.port, clock=bench.bus)
    with pytest.raises(SafetyError, match="support it, and switch it off and on"):
        again.connect()
    again.close()
    assert bench.holds_itself()


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
