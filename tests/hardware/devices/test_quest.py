import math
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mile.hardware.devices.quest import MAX_POSE_AGE, Quest, find_quests, parse
from mile.humans.controls import Controls
from mile.humans.keymaps import WIDOWX
from mile.humans.takeover import TakeOver

ADB = """#!{python}
import pathlib, sys, time
poses = pathlib.Path({folder!r}) / "poses"
if sys.argv[1] == "devices":
    print("List of devices attached\\n1WMHH8 device\\n")
elif sys.argv[1] == "shell" and not poses.exists():
    sys.exit("error: device unauthorized.")
elif sys.argv[1] == "logcat":
    print("--------- beginning of main", flush=True)
    while poses.exists():
        if poses.read_text():
            print(poses.read_text(), flush=True)
        time.sleep(0.01)
"""


def line(right, up, backward, buttons="R,rightJS 0.0 0.0,rightTrig 0.0,rightGrip 1.0"):
    """One of the app's lines: the left controller beside the right one, which is turned about the vertical."""
    c, s = math.cos(0.7), math.sin(0.7)
    matrix = [c, 0, s, right, 0, 1, 0, up, -s, 0, c, backward, 0, 0, 0, 1]
    left_matrix = [1, 0, 0, 9, 0, 1, 0, 9, 0, 0, 1, 9, 0, 0, 0, 1]
    return f"l:{in_words(left_matrix)}|r:{in_words(matrix)}&{buttons}"


def in_words(numbers):
    return " ".join(f"{number:.6f}" for number in numbers)


@pytest.fixture
def headset(tmp_path):
    """A program in the place of adb, and the file that it prints."""
    adb, poses = tmp_path / "adb", tmp_path / "poses"
    adb.write_text(ADB.format(python=sys.executable, folder=str(tmp_path)))
    adb.chmod(0o755)
    poses.write_text(line(0.1, 0.2, -0.3))
    return str(adb), poses


def soon(condition):
    """Return the condition's value as soon as it is true, or after 5 s."""
    end, value = time.monotonic() + 5, condition()
    while not value and time.monotonic() < end:
        time.sleep(0.01)
        value = condition()
    return value


def test_the_hand_has_the_robots_axes_and_the_grip_is_the_clutch(headset):
    adb, poses = headset
    assert find_quests(adb) == ["1WMHH8 device"]

    # the grip is closed, and then open
    quest = Quest(adb=adb)
    assert soon(quest.read).hand == pytest.approx((0.3, -0.1, 0.2))  # forward, left, up
    poses.write_text(line(0.1, 0.2, -0.3, "R,RTr,B,rightTrig 1.0,rightGrip 0.1"))
    assert soon(lambda: (quest.read() or Controls()).hand is None)
    assert soon(quest.read).pressed == {"Pad0", "Pad1"}
    quest.close()

    # the arm looks to the left of the headset
    poses.write_text(line(0.1, 0.2, -0.3))
    turned = Quest(facing=90, adb=adb)
    assert soon(turned.read).hand == pytest.approx((-0.1, -0.3, 0.2))
    turned.close()


def test_a_stale_pose_is_none_and_so_is_a_headset_that_is_gone(headset):
    adb, poses = headset
    quest = Quest(adb=adb)

    # stale
    poses.write_text("")
    time.sleep(MAX_POSE_AGE + 0.1)
    assert quest.read() is None
    poses.write_text(line(0, 0, 0))
    assert soon(lambda: quest.read() is not None)
    clutch = soon(quest.read).clutch

    # unplugged, and back
    poses.unlink()
    assert soon(lambda: quest.read() is None)
    poses.write_text(line(0, 0, 0))
    assert soon(quest.read).clutch > clutch  # closed anew, wherever the hand is now
    quest.close()


def test_one_old_line_is_no_pose(headset, monkeypatch):
    monkeypatch.setattr("mile.hardware.devices.quest.FIRST_POSE_TIMEOUT", 0.6)
    adb, poses = headset
    Path(adb).write_text(Path(adb).read_text().replace("time.sleep(0.01)", "time.sleep(0.3)"))
    with pytest.raises(ConnectionError, match="prints no poses"):
        Quest(adb=adb)
    assert poses.exists()


def test_a_trembling_grip_does_not_flutter(headset):
    adb, poses = headset
    quest = Quest(adb=adb)
    assert soon(quest.read).hand is not None
    poses.write_text(line(0.1, 0.2, -0.3, "rightGrip 0.5"))
    time.sleep(0.2)
    assert soon(quest.read).hand is not None
    poses.write_text(line(0.1, 0.2, -0.3, "rightGrip 0.3"))
    assert soon(lambda: quest.read() is not None and quest.read().hand is None)
    poses.write_text(line(0.1, 0.2, -0.3, "rightGrip 0.5"))
    time.sleep(0.2)
    assert soon(quest.read).hand is None
    quest.close()


def test_without_a_headset_the_message_says_what_to_do(headset, tmp_path):
    with pytest.raises(ConnectionError, match="adb, which is not installed"):
        Quest(adb=str(tmp_path / "nothing"))
    headset[1].unlink()
    with pytest.raises(ConnectionError, match=r"device unauthorized.*allow debugging"):
        Quest(adb=headset[0])


@given(st.text() | st.binary().map(lambda data: "r:" + data.decode("latin1")))
def test_no_line_breaks_the_parser(text):
    assert parse(text) is None or len(parse(text).position) == 3


def test_truncated_and_strange_lines_say_nothing():
    whole = line(0.1, 0.2, -0.3)
    assert parse(f"wE9ryARX: {whole}") == parse(whole) == ((0.1, 0.2, -0.3), frozenset("R"), 1.0)
    assert parse("&") is None
    assert parse(whole[: whole.index("|r:") + 40]) is None
    assert parse(whole.replace("0.100000", "1.0e.2")) is None
    assert parse(whole.replace("0.100000", "1.0e999")) is None


def follow(hands, executed):
    """Return the actions for a hand's positions; `executed` maps an action to the one that is executed."""
    last, actions = None, []
    for hand in hands:
        actions.append(WIDOWX.action(Controls(hand=hand), last))
        last = executed(actions[-1])
    return torch.stack(actions)


def test_the_arm_goes_as_far_as_the_hand_however_fast_that_was():
    way = [(0.0, 0.0, 0.0), *[(0.11, -0.05, 0.004)] * 8]
    actions = follow(way, lambda action: action)
    assert actions.abs().max() <= 1
    torch.testing.assert_close(actions[:, :3].sum(0) * 0.02, torch.tensor(way[-1]))
    assert actions[-1].tolist() == [0, 0, 0, 1]


def test_a_movement_that_a_limit_cut_is_neither_lost_nor_stored_up():
    """At a wall the arm stands still; it leaves the wall when the hand is back there, not later."""
    walled = follow([(x, 0.0, 0.0) for x in (0, 0.02, 0.04, 0.06, 0.08, 0.06, 0.04, 0.02, 0.0)], at_a_wall(0.03))
    position = torch.stack(at_a_wall.places)
    assert position.max() == pytest.approx(0.03)
    torch.testing.assert_close(position[-4:], torch.tensor([0.03, 0.03, 0.02, 0.0]))
    assert walled[:, 0].max() == 1


def at_a_wall(wall):
    """Return a function that executes actions of an arm before a wall; it keeps the arm's places."""
    at_a_wall.places, place = [], 0.0

    def executed(action):
        nonlocal place
        before = place
        place = min(before + 0.02 * float(action[0]), wall)
        at_a_wall.places.append(torch.tensor(place))
        return torch.tensor([(place - before) / 0.02, 0.0, 0.0, float(action[3])])

    return executed


def test_a_clutch_that_closes_elsewhere_or_in_a_new_episode_moves_nothing():
    last = follow([(0.0, 0.0, 0.0), (0.02, 0.0, 0.0)], lambda action: action)[-1]
    WIDOWX.action(Controls(), last)  # open
    assert WIDOWX.action(Controls(hand=(0.5, -0.4, 0.3)), last).tolist() == [0, 0, 0, 1]
    assert WIDOWX.action(Controls(hand=(-0.5, 0.4, 0.3)), None).tolist() == [0, 0, 0, 1]
    assert WIDOWX.action(Controls(hand=(0.5, 0.4, 0.3), clutch=1), last).tolist() == [0, 0, 0, 1]  # between two reads
    assert TakeOver("hold").update(False, WIDOWX.deflection(Controls(hand=(0.0, 0.0, 0.0))))
