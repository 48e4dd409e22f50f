import sys

import pytest

pytest.importorskip("pygame")

from mile.commands.devices import judge, main
from mile.humans.controls import Controls

REST, PUSHED = (0.0,) * 4, (1.0, -1.0, 0.9, -0.9)


def test_a_device_that_was_tried_out_is_judged():
    sound = [Controls(axes=REST), Controls(frozenset({"Pad0"}), PUSHED)]
    assert judge(sound) == []

    # faults
    assert judge([None]) == ["the device was not there"]
    (still,) = judge([sound[0], Controls(frozenset({"Pad0"}), (1.0, -1.0, 0.02, 1.0))])
    assert still.startswith("right ↔ never moved beyond 0.02")
    (stuck,) = judge([Controls(axes=(0.0, 0.0, 0.0, 0.8)), Controls(frozenset({"Pad0"}), (*PUSHED[:3], 0.9))])
    assert stuck.startswith("right ↕ was never at rest")
    assert judge([sound[0], Controls(axes=PUSHED)]) == ["no button was pressed"]


def test_it_lists_what_there_is_and_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mile-devices"])
    main()
    assert "gamepad: none; plug one in" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["mile-devices", "test", "gamepad"])
    with pytest.raises(SystemExit, match="gamepad 0 is asked for, 0 are there"):
        main()
