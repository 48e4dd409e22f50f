import pytest

pytest.importorskip("pygame")
import numpy as np
import pygame
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env
from mile.humans import Person
from mile.humans.consoles.window import Window
from mile.humans.controls import Controls
from mile.humans.keymaps import keymap_for
from mile.policies import load_policy


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    made = Window()
    pygame.event.clear()
    yield made
    made.close()


def press(key, down=True):
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN if down else pygame.KEYUP, key=key))


def test_keys_have_a_browsers_names_and_a_tap_is_not_lost(window):
    press(pygame.K_LEFT)
    press(pygame.K_a)
    press(pygame.K_a, down=False)
    press(pygame.K_SPACE)
    assert window.controls().pressed == {"ArrowLeft", "KeyA", "Space"}
    assert window.controls().pressed == {"ArrowLeft", "Space"}
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    assert window.controls().pressed == set()


def test_commands_come_in_order_and_closing_the_window_stops(window):
    for key in (pygame.K_RETURN, pygame.K_p, pygame.K_y, pygame.K_n, pygame.K_BACKSPACE, pygame.K_ESCAPE):
        press(key)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert window.commands() == ["start", "pause", "success", "failure", "discard", "stop", "stop"]
    assert window.commands() == []


def test_a_window_may_be_as_small_as_anybody_likes(window):
    window.screen = pygame.display.set_mode((250, 30))
    window.show({"phase": "playing"}, np.full((4, 4, 3), 255, np.uint8))
    assert tuple(window.screen.get_at((0, 0)))[:3] != (255, 255, 255)  # no room for the picture


def test_without_its_device_nobody_is_there(monkeypatch):
    class Pad:
        def __init__(self):
            self.state = Controls(frozenset({"Pad5"}), (0.5, 0, 0, 0))

        def read(self):
            return self.state

        def close(self):
            self.state = "closed"

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window(Pad)
    press(pygame.K_a)
    assert window.controls() == Controls(frozenset({"KeyA", "Pad5"}), (0.5, 0, 0, 0))
    assert window.present()
    window.device.state = None
    assert not window.present()
    assert window.controls() == Controls(frozenset({"KeyA"}))  # the key is still down
    window.close()
    assert window.device.state == "closed"


def test_a_person_at_the_window_flies(window):
    env = make_env("lunarlander", render_mode="rgb_array")
    person = Person(window, env.render, keymap_for("lunarlander", env.action_spec_unbatched), rate=1000)
    judge = person.judge

    def hold(executed):
        if person.step == 9:
            press(pygame.K_UP)
        if person.step == 14:
            press(pygame.K_UP, down=False)
        return judge(executed)

    person.judge = hold
    press(pygame.K_RETURN)
    waiting = person.heed_stop
    person.heed_stop = lambda: (waiting(), press(pygame.K_RETURN))
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(person)), load_policy("lunarlander/initial"), 1)
    assert steps["step"][steps["intervened"]].tolist() == [10, 11, 12, 13, 14]
    assert (steps["executed_action"][steps["intervened"]] == 2).all()
    drawn = pygame.surfarray.array3d(window.screen)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50  # the lander, and words


def test_forms_are_for_the_browser(window):
    with pytest.raises(ValueError, match="human=browser"):
        window.show({"phase": "form", "form": {}})


def test_a_machine_without_a_screen_is_told_of_the_browser(monkeypatch):
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(ValueError, match="choose human=browser"):
        Window()
