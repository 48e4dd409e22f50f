import gymnasium as gym
import numpy as np
import pytest
import torch

from mile.collection import collect_episodes
from mile.envs import make_env, make_policy
from mile.envs.observations import Observed
from tests.support import act_by_step

SPACE = gym.spaces.Dict(
    {
        "hand": gym.spaces.Dict(
            {
                "camera": gym.spaces.Box(0, 255, (40, 50), np.uint8),
                "force": gym.spaces.Box(-1, 1, (2, 2), np.float64),
            }
        ),
        "tool": gym.spaces.Discrete(3),
    }
)


def test_entries_have_the_names_of_the_parts():
    entries = Observed(SPACE, stack=3)
    assert set(entries.spaces) == {"hand_camera", "hand_force", "tool"}
    assert entries.spaces["hand_camera"].shape == (3, 40, 50, 1)
    assert entries.spaces["hand_force"].dtype == np.float64
    pictures = [np.full((40, 50), number, np.uint8) for number in range(5)]

    def observation(number):
        return {"tool": 2, "hand": {"camera": pictures[number], "force": np.arange(4.0).reshape(2, 2)}}

    first = entries.begin(observation(0))
    assert first["tool"].tolist() == [0, 0, 1]
    assert first["hand_force"].tolist() == [0, 1, 2, 3]
    assert first["hand_camera"][:, 0, 0, 0].tolist() == [0, 0, 0]
    for number in range(1, 5):
        last = entries.entries(observation(number))
    assert last["hand_camera"][:, 0, 0, 0].tolist() == [2, 3, 4]
    assert entries.begin(observation(1))["hand_camera"][:, 0, 0, 0].tolist() == [1, 1, 1]
    for name, space in entries.spaces.items():
        assert space.contains(last[name])


def test_one_vector_and_one_picture_have_names_of_their_own():
    assert set(Observed(gym.spaces.Box(-1, 1, (3,))).spaces) == {"observation"}
    assert set(Observed(gym.spaces.Box(0, 255, (40, 40, 3), np.uint8)).spaces) == {"pixels"}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (gym.spaces.Dict({"episode": gym.spaces.Box(-1, 1, (2,))}), "cannot have the name 'episode'; rename it"),
        (gym.spaces.Dict({"direction": gym.spaces.Box(-1, 1, (2,))}), "cannot have the name 'direction'; rename it"),
        (gym.spaces.Dict({"a/b": gym.spaces.Box(-1, 1, (2,))}), "cannot have the name 'a/b'; rename it"),
        (gym.spaces.Sequence(gym.spaces.Box(-1, 1, (2,))), "an observation of a fixed size is expected, got Sequence"),
    ],
)
def test_what_cannot_be_an_entry_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        Observed(space)


def test_a_stack_has_a_picture():
    with pytest.raises(ValueError, match=r"stack \(pictures\) must be at least 1, got 0"):
        make_env("CountingShown-v0", stack=0)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_recorded_pictures_are_those_of_the_steps(num_envs):
    steps = collect_episodes(make_env("CountingShown-v0", num_envs, stack=4), act_by_step, 4, seed=1)
    assert steps["pixels"].shape[1:] == (36, 40, 3)
    assert torch.equal(steps["pixels"][:, 0, 0, 0].long(), 4 * steps["step"])
    assert torch.equal(steps["next", "pixels"][:, 0, 5, 0].long(), 4 * steps["step"] + 9)


def test_a_policy_acts_on_the_newest_pictures_as_they_are_recorded():
    """The stack that the robot saw is the one that is made of the recording."""
    env = make_env("CountingShownBox-v0", 2, stack=3)
    torch.manual_seed(0)
    policy = make_policy(env, hidden_dims=(8,)).double()
    steps = collect_episodes(env, policy, 3, seed=1)
    with torch.no_grad():
        again = policy.act(*policy.inputs_at(steps, torch.arange(len(steps))))
    torch.testing.assert_close(steps["robot_action"], again.float())
