import time

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.evaluation import evaluate_policy
from mile.gates import FleetAttention
from mile.humans import Person, Spectator
from mile.humans.controls import Controls
from mile.humans.forms import check_form
from mile.humans.keymaps import WIDOWX, keymap_for
from mile.humans.oversight import Attention
from mile.humans.takeover import TakeOver
from tests.humans.script import Script
from tests.support import act_by_step


def play(script, episodes=1, **options):
    env = make_env("Counting-v0")
    keymap = keymap_for("Counting-v0", env.action_spec_unbatched)
    options = {"rate": 1000, **options}
    person = Person(script, lambda: np.zeros((4, 4, 3), np.uint8), keymap, **options)
    supervised = TransformedEnv(env, InterventionTransform(person))
    return person, collect_episodes(supervised, act_by_step, episodes, seed=0)


def test_what_is_pressed_is_what_is_recorded():
    script = Script([(), ("Digit3",), ("Digit3",), (), ("Digit5",)])
    _, steps = play(script)
    assert steps["intervened"].tolist()[:6] == [False, True, True, False, True, False]
    assert steps["human_action"].tolist()[:6] == [-1, 2, 2, -1, 4, -1]
    assert steps["executed_action"][steps["intervened"]].tolist() == [2, 2, 4]
    assert torch.equal(steps["robot_action"], steps["step"] % 2)  # the robot's own, always
    assert steps["intervention_prob"].isnan().all()  # nobody predicts it


def test_the_models_prediction_is_shown_and_recorded():
    env = make_env("Counting-v0")
    script = Script()
    person = Person(
        script, lambda: np.zeros((4, 4, 3), np.uint8), keymap_for("x", env.action_spec_unbatched), rate=1000
    )
    person.predict = lambda step: step["observation"][:, 1] / 100
    steps = collect_episodes(TransformedEnv(env, InterventionTransform(person)), act_by_step, 1, seed=0)
    torch.testing.assert_close(steps["intervention_prob"], steps["observation"][:, 1] / 100)
    probs = [status["prob"] for status, _ in script.shown if status["phase"] == "playing"]
    assert probs[-1] == pytest.approx(float(steps["intervention_prob"][-1]), abs=1e-3)


@pytest.mark.parametrize("verdict", ["success", "failure"])
def test_the_person_may_end_an_episode(verdict):
    _, whole = play(Script())
    _, steps = play(Script(commands={2: verdict}), episodes=2)
    first = steps[steps["episode"] == 0]
    assert len(first) == 3 < len(whole)
    assert first["next", "terminated"].tolist() == [False, False, True]
    assert bool(first["next", "success"][-1]) == (verdict == "success")
    assert (steps["episode"] == 1).sum() > 3  # the next one is played to its own end


def test_a_spectator_judges_and_cannot_act():
    class Watcher(Script):
        def commands(self):
            status = self.shown[-1][0] if self.shown else {}
            if status.get("phase") != "playing":
                return ["start"]
            return ["success"] if status["step"] == 3 else []

        def controls(self):
            return Controls(frozenset({"Digit3"}))

    script = Watcher()
    env = make_env("Counting-v0")
    keymap = keymap_for("Counting-v0", env.action_spec_unbatched)
    person = Person(script, lambda: np.zeros((4, 4, 3), np.uint8), keymap, rate=1000)
    judged = TransformedEnv(env, InterventionTransform(Spectator(person)))
    result = evaluate_policy(judged, make_policy(env, hidden_dims=(4,)), 2, seed=0)
    assert result.lengths.tolist() == [4, 4]
    assert result.success_rate == 1
    assert not result.interventions.any()
    assert "succeed" in next(status["title"] for status, _ in script.shown if status["phase"] == "playing")
    assert (person.watching, person.title) == (False, None)


def test_a_discarded_episode_is_played_again_as_if_it_had_not_been():
    _, steps = play(Script([("Digit3",), (), ("Digit4",)], commands={2: "discard"}), episodes=2)
    _, clean = play(Script([("Digit4",)]), episodes=2)
    for key in ("observation", "episode", "step", "intervened", "executed_action"):
        assert torch.equal(steps[key], clean[key])


def test_the_robot_waits_while_nobody_is_at_the_console():
    script = Script(away=[2])
    _, steps = play(script)
    phases = [status["phase"] for status, _ in script.shown]
    assert phases.count("away") == 1
    assert torch.equal(steps["step"], torch.arange(len(steps)))


def test_a_press_that_began_before_a_pause_does_not_toggle_after_it():
    takeover = TakeOver("toggle")
    assert takeover.update(True, 0.0)
    takeover.reset(button=True)
    assert [takeover.update(button, 0.0) for button in (True, True, False, True)] == [False, False, False, True]
    _, steps = play(Script([("Space",), (), ()], commands={1: "pause"}), takeover=TakeOver("toggle"))
    assert steps["intervened"].tolist()[:3] == [True, False, False]  # a pause gives control back


def test_a_form_that_nobody_could_answer_is_refused():
    for wrong in (
        {"kind": "choice", "options": [True, False]},
        {"kind": "scale", "low": 7, "high": 1},
        {"kind": "essay"},
    ):
        with pytest.raises(ValueError, match=r"'field' must|options of 'field'"):
            check_form({"fields": [{"name": "field", "label": "?", **wrong}]})


def test_stopping_ends_the_program_with_one_line():
    with pytest.raises(SystemExit, match="ckpt_path=last"):
        play(Script(commands={1: "stop"}))


def test_a_slow_renderer_takes_half_of_the_time_at_most():
    env = make_env("Counting-v0")
    script = Script()

    def view():
        time.sleep(0.05)
        return np.zeros((4, 4, 3), np.uint8)

    person = Person(script, view, keymap_for("x", env.action_spec_unbatched), rate=100)
    collect_episodes(TransformedEnv(env, InterventionTransform(person)), act_by_step, 2, seed=0)
    playing = [frame is not None for status, frame in script.shown if status["phase"] == "playing"]
    assert sum(playing) <= len(playing) / 2 + 1


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="rate"):
        Person(Script(), lambda: np.zeros((1, 1, 3), np.uint8), keymap_for("lunarlander", None), rate=0)


class Hand(Script):
    """A person with a tracked hand: what is pressed and where the hand is, in each of the steps of `follow`."""

    def controls(self):
        pressed, hand = self.plan[self.reads]
        return Controls(frozenset(pressed), hand=hand)


def follow(console, mode, robot_action):
    """Return who was in control and what they did, at each step of an arm."""
    person = Person(console, lambda: np.zeros((4, 4, 3), np.uint8), WIDOWX, rate=1000, takeover=TakeOver(mode))
    steps = []
    for number in range(len(console.plan)):
        console.reads = number
        intervened, action, *_ = person.decide(TensorDict(observation=torch.zeros(1, 2), batch_size=[1]))
        person.judge(action if intervened else robot_action)
        steps.append((bool(intervened), action[0].tolist()))
    return steps


STILL = [0, 0, 0, 1]


def test_the_arm_does_not_follow_a_hand_that_moved_during_a_pause():
    plan = [((), (0.0, 0.0, 0.0)), ((), (0.01, 0.0, 0.0)), ((), (0.5, -0.3, -0.1)), ((), (0.5, -0.29, -0.1))]
    paused = follow(Hand(plan, commands={2: "pause"}), "hold", None)
    assert all(in_control for in_control, _ in paused)
    assert paused[2][1] == STILL
    assert paused[3][1] == pytest.approx([0, 0.5, 0, 1], abs=1e-5)
    away = follow(Hand(plan, away={2}), "always", None)
    assert away[2][1] == STILL


def test_a_hand_that_takes_over_does_not_undo_what_the_robot_did_before():
    plan = [((), (0.0, 0.0, 0.0))] * 3 + [(("Space",), (0.0, 0.0, 0.0)), ((), (0.0, 0.0, 0.01))]
    steps = follow(Hand(plan), "toggle", torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    assert [in_control for in_control, _ in steps] == [False, False, False, True, True]
    assert steps[3][1] == STILL
    assert steps[4][1] == pytest.approx([0, 0, 0.5, 1], abs=1e-5)


@pytest.mark.parametrize("corrections", ["nudge", "words"])
def test_a_tracked_hand_says_which_way_while_it_moves(corrections):
    console = Hand([((), (0.0, 0.0, 0.0)), ((), (0.01, 0.0, 0.0)), ((), (0.02, 0.0, 0.0))])
    frame = lambda: np.zeros((4, 4, 3), np.uint8)  # noqa: E731
    person = Person(console, frame, WIDOWX, rate=1000, takeover=TakeOver("always"), corrections=corrections)
    directions = []
    for number in range(len(console.plan)):
        console.reads = number
        directions.append(person.decide(TensorDict(observation=torch.zeros(1, 2), batch_size=[1])).direction[0])
        person.judge(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    assert directions[0].isnan().all()  # the hand is where it was
    assert directions[1].tolist() == directions[2].tolist() == [1, 0, 0, 0]


def oversee(script, oversight, copies=1, episodes=1):
    """Play with a person and something that directs them."""
    env = make_env("Counting-v0", num_envs=copies)
    keymap = keymap_for("Counting-v0", env.action_spec_unbatched)
    person = Person(script, lambda: np.zeros((4, 4, 3), np.uint8), keymap, rate=1000)
    supervised = TransformedEnv(env, InterventionTransform(person, oversight))
    return collect_episodes(supervised, act_by_step, episodes, seed=0)


class AsksFromTheThirdStepOn:
    def begin(self, copies=None):
        self.step = 0

    def direct(self, step):
        asked = torch.full(step.batch_size, self.step >= 2)
        return Attention(asked, asked)

    def after(self, intervened, robot_action, human_action):
        self.step += 1


def test_a_gates_request_is_shown_with_its_age_and_the_person_acts_on_it_alone():
    script = Script([("Digit3",), (), (), ("Digit3",)])
    steps = oversee(script, AsksFromTheThirdStepOn())
    assert steps["asked"].tolist()[:5] == [False, False, True, True, True]
    assert steps["intervened"].tolist()[:5] == [False, False, False, True, False]
    assert torch.equal(steps["attended"], steps["asked"])
    ages = [status["asked"] for status, _ in script.shown if status["phase"] == "playing"]
    assert ages[:2] == [None, None]
    assert ages[2] == 0
    assert ages[2:] == sorted(ages[2:])


def test_a_person_controls_the_robot_of_a_fleet_that_they_attend_and_no_other():
    script = Script([("Digit3",), ()] * 60, commands={5: "success", 6: "failure", 7: "discard"})
    steps = oversee(script, FleetAttention(dwell=2), copies=3, episodes=3)
    assert steps["intervened"].any()
    assert (steps["intervened"] <= steps["attended"]).all()
    _, alone = play(Script(), episodes=3)
    assert len(steps) == len(alone)  # a verdict is of single robots
    at_once = torch.zeros(int(steps["step"].max()) + 1).index_add_(0, steps["step"], steps["attended"].float())
    assert at_once.max() == 1
    assert [status["phase"] for status, _ in script.shown].count("waiting") == 1  # once for the fleet


def test_an_episode_of_a_persons_fleet_is_recorded_as_it_ends():
    env = make_env("Counting-v0", num_envs=3)
    keymap = keymap_for("Counting-v0", env.action_spec_unbatched)
    person = Person(Script(), lambda: np.zeros((4, 4, 3), np.uint8), keymap, rate=1000)
    played = []
    collect_episodes(
        TransformedEnv(env, InterventionTransform(person, FleetAttention())),
        act_by_step,
        3,
        seed=0,
        on_episode=lambda steps: played.append((len(steps), person.step)),
    )
    assert len({length for length, _ in played}) > 1
    assert all(length == step for length, step in played)


def test_what_is_pressed_as_attention_turns_counts():
    takeover = TakeOver()
    takeover.update(False, 0.0)
    takeover.let_go()
    assert takeover.update(True, 0.0)
    takeover.let_go()
    assert not takeover.update(True, 0.0)
    assert not takeover.update(True, 0.0)
    assert not takeover.update(False, 0.0)
    assert takeover.update(True, 0.0)


def test_a_control_that_is_held_does_not_take_over_the_next_robot():
    class Turns(AsksFromTheThirdStepOn):
        def direct(self, step):
            return Attention(torch.arange(2) == int(self.step >= 3), torch.zeros(2, dtype=torch.bool))

    held = [("Digit3",)] * 5 + [()] + [("Digit3",)] * 2
    steps = oversee(Script(held), Turns(), copies=2, episodes=2)
    first, second = (steps[steps["episode"] == number]["intervened"].tolist() for number in (0, 1))
    assert first[:5] == [True, True, True, False, False]
    assert second[:8] == [False] * 6 + [True, True]
