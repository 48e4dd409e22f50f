import pickle

import numpy as np
import pytest
import torch
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task
from tensordict import TensorDict
from torchrl.envs import TransformedEnv, check_env_specs

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.envs.metaworld import NUMBERS_PER_STEP, SUCCESS_CONDITIONS, MetaWorld, scripted_policy
from mile.humans import SimulatedHuman
from mile.ingredients.demonstrations import ScriptedPolicy
from mile.transitions import TransitionError
from tests.graphics import needs_graphics

NAMES = {"button_press": "button-press-v3", "drawer_open": "drawer-open-v3", "peg_insert": "peg-insert-side-v3"}
SOME = [*SUCCESS_CONDITIONS, "door-open-v3", "stick-push-v3"]


def actions(count):
    return np.random.default_rng(0).uniform(-1, 1, (count, 4)).astype(np.float32)


@pytest.mark.parametrize("task", SOME)
def test_it_steps_as_the_suite_does_for_the_same_task(task):
    """The suite's own class, with the goal set by its own `set_task`, sees the same states and success."""
    ours = MetaWorld(task)
    for seed in (3, 1, 3):  # the third episode is the first again, whatever was played between
        observation, _ = ours.reset(seed=seed)
        suite = ALL_V3_ENVIRONMENTS[task]()
        goal = {"rand_vec": ours.env._last_rand_vec, "env_cls": type(suite), "partially_observable": False}
        suite.set_task(Task(task, pickle.dumps(goal)))
        state, _ = suite.reset()
        history = [state] * 4
        for action in actions(60):
            np.testing.assert_array_equal(observation, np.concatenate(history[-4:]).astype(np.float32))
            observation, reward, terminated, truncated, info = ours.step(action)
            state, _, _, _, suite_info = suite.step(action)
            history.append(state)
            assert info["success"] == terminated == bool(reward) == bool(suite_info["success"])
            assert not truncated
        assert history[0][36:39].any()  # the goal is seen


@pytest.mark.parametrize("task", SUCCESS_CONDITIONS)
def test_success_is_the_suites_own(task):
    ours, theirs, robot = MetaWorld(task), MetaWorld(task, shaped_reward=True), ScriptedPolicy(*scripted_policy(task))
    solved = 0
    for seed in range(4):
        observation, _ = ours.reset(seed=seed)
        theirs.reset(seed=seed)
        terminated = truncated = False
        while not (terminated or truncated):
            step = TensorDict(observation=torch.from_numpy(observation)[None], episode=torch.zeros(1, dtype=torch.long))
            action = robot.clean_actions(step)[0]
            observation, _, terminated, truncated, info = ours.step(action.numpy())
            _, reward, *_, shaped_info = theirs.step(action.numpy())
            assert info == shaped_info
            assert 0 <= reward <= 10
        solved += terminated
    assert solved >= 3


@pytest.mark.parametrize(("options", "limit"), [({}, 500), ({"max_episode_steps": 30}, 30)])
def test_time_is_up_after_500_steps_or_sooner(options, limit):
    env = make_env("drawer_open", 2, **options)
    steps = collect_episodes(env, lambda step: step.set("action", torch.zeros(2, 4)), 2)
    assert len(steps) == 2 * limit
    assert steps["next", "truncated"].nonzero().flatten().tolist() == [limit - 1, 2 * limit - 1]
    assert not steps["next", "terminated"].any()
    assert not steps["next", "reward"].any()


@pytest.mark.parametrize("name", [*NAMES, "door-open-v3"])
def test_specs_hold_and_goals_differ(name):
    env = make_env(name, num_envs=3)
    check_env_specs(env)
    assert env.metric == "success"
    env.set_seed(0)
    first = env.reset()["observation"]
    assert len(first.unique(dim=0)) == 3
    assert first.shape == (3, 4 * NUMBERS_PER_STEP)


def test_an_episode_depends_on_seed_and_number_alone():
    torch.manual_seed(0)
    env = make_env("drawer_open")
    robot, expert, belief = (make_policy(env, hidden_dims=(16,)) for _ in range(3))
    human = SimulatedHuman(expert, belief, cost=1.0, scale=1.0)

    def play(num_envs, episodes):
        supervised = TransformedEnv(make_env("drawer_open", num_envs), InterventionTransform(human))
        return collect_episodes(supervised, robot, episodes, seed=3, deterministic=False).exclude("timestamp")

    together, alone = play(3, [0, 1, 2]), play(1, [2, 0])
    assert together["intervened"].any()
    for key in ("observation", "robot_action", "human_action", "executed_action"):
        again = torch.cat([together[key][together["episode"] == number] for number in (2, 0)])
        assert torch.equal(alone[key].nan_to_num(7), again.nan_to_num(7))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no task 'drawer-opne-v3'; similar: drawer-open-v3"):
        make_env("drawer-opne-v3")
    broken = torch.tensor([[0.0, float("nan"), 0.0, 0.0]])
    with pytest.raises(TransitionError, match=r"action must be finite, got .*nan"):
        collect_episodes(make_env("drawer_open"), lambda step: step.set("action", broken), 1)


@needs_graphics
def test_pictures_are_the_right_way_up():
    env = MetaWorld("drawer-open-v3", render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    frame = env.render().astype(float)
    env.close()
    assert frame.shape == (120, 160, 3)
    assert frame[-10:].mean() > frame[:10].mean() + 20  # the bright floor lies below
    red = (frame[..., 0] > 120) & (frame[..., 1:].max(-1) < 60)
    assert red.nonzero()[1].mean() < 80  # seen from corner2, the arm stands on the left


def test_a_missing_renderer_is_named(monkeypatch):
    def fail():
        raise OSError("no such library")

    env = MetaWorld("drawer-open-v3", render_mode="rgb_array")
    monkeypatch.setattr(env.env, "render", fail)
    with pytest.raises(RuntimeError, match=r"cannot render offscreen .*no such library.* install libegl1"):
        env.render()
