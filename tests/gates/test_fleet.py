"""A fleet: one robot at a time is attended, and which one."""

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.gates import FleetAttention
from mile.gates.picture import ATTENDED_COLOR, BORDER, NEXT_COLOR, fleet_picture
from mile.humans import SimulatedHuman
from tests.gates.test_gates import First


def directed(attention, scores, intervened=False, episode=None):
    """Let one step pass, and return the robot that is attended."""
    count = len(scores)
    step = TensorDict({"observation": torch.tensor(scores).unsqueeze(-1), "action": torch.zeros(count)}, [count])
    if episode is not None:
        step["episode"] = torch.tensor(episode)
    attended, requested = attention.direct(step)
    assert not requested.any()
    assert attended.sum() == (attention.attended is not None)
    attention.after(attended & intervened, step["action"], step["action"])
    return attention.attended


def test_in_turn_each_robot_is_attended_for_as_many_steps():
    attention = FleetAttention(dwell=2)
    attention.begin()
    assert [directed(attention, [0.0, 0.0, 0.0]) for _ in range(8)] == [0, 0, 1, 1, 2, 2, 0, 0]


def test_the_human_stays_while_they_are_in_control():
    attention = FleetAttention(dwell=1)
    attention.begin()
    assert [directed(attention, [0.0, 0.0], intervened=True) for _ in range(3)] == [0, 0, 0]
    assert [directed(attention, [0.0, 0.0]) for _ in range(2)] == [0, 1]


def test_the_robot_with_the_highest_score_is_next():
    attention = FleetAttention(First(), dwell=1)
    attention.begin()
    assert directed(attention, [0.0, 9.0, 5.0]) == 0  # nothing is learnt yet: in turn
    attention.learn(None, None)
    assert [directed(attention, [0.0, 9.0, 5.0]) for _ in range(2)] == [1, 1]
    assert directed(attention, [0.0, 1.0, 5.0]) == 2


def test_a_robot_without_an_episode_is_not_attended():
    attention = FleetAttention(dwell=1)
    attention.begin()
    assert directed(attention, [0.0, 0.0], episode=[-1, 3]) == 1
    assert directed(attention, [0.0, 0.0], episode=[4, -1]) == 0
    assert directed(attention, [0.0, 0.0], episode=[-1, -1]) is None


def test_the_human_is_free_when_an_episode_ends():
    attention = FleetAttention(dwell=50)
    attention.begin()
    assert directed(attention, [0.0, 0.0, 0.0]) == 0
    attention.begin(torch.tensor([False, True, False]))
    assert directed(attention, [0.0, 0.0, 0.0]) == 0
    attention.begin(torch.tensor([True, False, False]))
    assert directed(attention, [0.0, 0.0, 0.0]) == 1


def test_a_recorded_fleet_has_one_attended_robot_at_a_time_and_help_there_alone():
    torch.manual_seed(0)
    env = make_env("Counting-v0", num_envs=4)
    expert, mental_model, robot = (make_policy(env, hidden_dims=(8,)) for _ in range(3))
    human = SimulatedHuman(expert, mental_model, 0.0, 0.1)
    steps = collect_episodes(
        TransformedEnv(env, InterventionTransform(human, FleetAttention(dwell=3))), robot, 4, seed=0
    )
    # the four episodes begin together
    at_once = torch.zeros(int(steps["step"].max()) + 1).index_add_(0, steps["step"], steps["attended"].float())
    assert at_once.max() == 1
    assert steps["intervened"].any()

    # the human looks at no other one
    step = TensorDict({"observation": torch.rand(50, 2), "attended": torch.arange(50) < 25}, [50])
    step["asked"] = ~step["attended"]
    assert not human.decide(step).intervened[25:].any()
    assert not steps["asked"].any()


def test_a_dwell_below_one_step_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        FleetAttention(dwell=0)


def test_the_picture_shows_the_attended_robot_and_marks_it_and_the_next():
    env = make_env("Counting-v0", num_envs=3, render_mode="rgb_array")
    env.schedule.start(0, [0, 1])
    env.reset()
    env.render = lambda robot: np.full((40, 60, 3), 10 * (robot + 1), np.uint8)
    attention = FleetAttention(First(), dwell=1)
    attention.begin()
    attention.learn(None, None)
    assert directed(attention, [1.0, 9.0, 5.0]) == 1
    assert attention.next() == 2
    picture = fleet_picture(env, attention)
    width = (60 // 3 - 2 * BORDER) + 2 * BORDER
    assert picture.shape[1] == 60
    assert [tuple(picture[40, number * width]) for number in (1, 2)] == [ATTENDED_COLOR, NEXT_COLOR]
    assert (picture[:40] == 20).all()  # the attended one
    small = [picture[40 + BORDER, number * width + BORDER, 0] for number in range(3)]
    assert small == [10, 20, 0]  # the last one has no episode
