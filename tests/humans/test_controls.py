import pytest
import torch
from torchrl.data import Bounded, Categorical, Unbounded

from mile.envs import make_env
from mile.humans.controls import Controls
from mile.humans.keymaps import ARM, CAR, LANDER, keymap_for


def keys(*names):
    return Controls(frozenset(names))


def test_the_lander_is_flown_with_keys_cross_or_stick():
    for controls, action in (
        (keys("ArrowUp"), 2),
        (keys("KeyA"), 1),
        (keys("Pad15"), 3),
        (keys("ArrowDown"), 0),
        (Controls(axes=(-0.9, -0.2, 0, 0)), 1),
        (Controls(axes=(0.2, -0.9, 0, 0)), 2),
        (Controls(), 0),
    ):
        assert LANDER.action(controls, None) == action


def test_a_stick_within_its_dead_zone_is_at_rest_and_grows_from_there():
    near = Controls(axes=(0.14, -0.14, 0.0, 0.1))
    assert LANDER.deflection(near) == ARM.deflection(near) == 0
    assert Controls(axes=(0.16,)).axis(0) == pytest.approx(0.01 / 0.85)
    assert Controls(axes=(-1.0,)).axis(0) == -1


def test_the_hand_moves_and_the_gripper_stays_as_it_was():
    assert ARM.action(keys("ArrowRight", "KeyE"), None).tolist() == [1, 0, 1, -1]
    assert ARM.action(keys("KeyC"), None).tolist() == [0, 0, 0, 1]
    assert ARM.action(keys("ArrowUp"), torch.tensor([0.0, 0.0, 0.0, 1.0])).tolist() == [0, 1, 0, 1]
    assert ARM.action(keys("KeyV"), torch.tensor([0.0, 0.0, 0.0, 1.0])).tolist() == [0, 0, 0, -1]
    half = ARM.action(Controls(axes=(0.0, 0.0, 0.0, -0.575)), None)
    torch.testing.assert_close(half, torch.tensor([0.0, 0.0, 0.5, -1.0]))


def test_a_car_is_steered_with_keys_or_sticks():
    assert CAR.action(keys("ArrowLeft", "KeyW"), None).tolist() == [-1, 1]
    assert CAR.action(keys("ArrowDown"), None).tolist() == [0, -1]
    half = CAR.action(Controls(axes=(0.575, 0.0, 0.0, -0.575)), None)
    torch.testing.assert_close(half, torch.tensor([0.5, 0.5]))
    assert CAR.deflection(keys("Space")) == 0


@pytest.mark.parametrize("name", ["lunarlander", "drawer_open", "car_racing", "two_ways"])
def test_every_action_of_a_keymap_is_one_of_its_environment(name):
    env = make_env(name)
    spec = env.action_spec_unbatched
    keymap = keymap_for(name, spec)
    assert "ArrowLeft" in {code for code, _ in keymap.buttons}
    for code, _ in keymap.buttons:
        assert spec.is_in(keymap.action(keys(code), None).to(spec.dtype))
    env.close()


def test_other_discrete_actions_have_digits_and_others_a_clear_word():
    keymap = keymap_for("CartPole-v1", Categorical(2))
    assert keymap.action(keys("Digit2"), None) == 1
    assert keymap.deflection(keys("Digit1")) == 1
    assert keymap_for("door-open-v3", Bounded(-1, 1, (4,))) is ARM
    assert keymap_for("Pendulum-v1", Bounded(-1, 1, (1,))).action(keys("ArrowRight"), None).tolist() == [1]
    with pytest.raises(ValueError, match="no controls are known"):
        keymap_for("Ant-v5", Unbounded((8,)))
