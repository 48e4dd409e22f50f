import sys

import pytest

pytest.importorskip("pygame")

from mile.commands.devices import judge, main
from mile.humans.controls import Controls

REST, PUSHED = (0.0,) * 4, (1.0, -1.0, 0.9, -0.9)


def test_a_device_that_was_tried_out_is_judged():
    sound = [Controls(axes=REST), Controls(frozenset({"Pad0"}), PUSHED)]
    assert judge("gamepad", sound) == []

    # faults
    assert judge("gamepad", [None]) == ["the device was not there"]
    (still,) = judge("gamepad", [sound[0], Controls(frozenset({"Pad0"}), (1.0, -1.0, 0.02, 1.0))])
    assert still.startswith("right ↔ never moved beyond 0.02")
    (stuck,) = judge(
        "gamepad", [Controls(axes=(0.0, 0.0, 0.0, 0.8)), Controls(frozenset({"Pad0"}), (*PUSHED[:3], 0.9))]
    )
    assert stuck.startswith("right ↕ was never at rest")
    assert judge("gamepad", [sound[0], Controls(axes=PUSHED)]) == ["no button was pressed"]


def test_a_device_is_not_blamed_for_an_axis_that_it_does_not_have():
    mouse = [Controls(axes=REST), Controls(frozenset({"Pad0"}), (1.0, -1.0, 0.0, 0.9))]
    assert judge("spacemouse", mouse) == []
    hand = [Controls(hand=(0.0, 0.0, 0.0)), Controls(frozenset({"Pad0"}), hand=(0.2, 0.0, 0.0))]
    assert judge("quest", hand) == []
    (faults,) = judge("quest", [Controls(frozenset({"Pad0"}))])
    assert faults.startswith("the hand never moved as far as 0.1 m while its clutch was closed")


def test_it_lists_what_there_is_and_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mile-devices"])
    main()
    assert "gamepad: none; plug one in" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mile-devices", "test", "gamepad"])
    with pytest.raises(SystemExit, match="gamepad 0 is asked for, 0 are there"):
        main()
