"""What holding an action would have led to, by playing a recorded attempt again."""

import pytest
import torch

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.envs.replay import Replay

SEED, HORIZON = 4, 3


def constant(env):
    """A robot that always does the same; what follows is then on record."""
    action = torch.tensor(2) if env.name == "lunarlander" else torch.tensor([0.3, -1.7, 0.1, 0.5])  # clipped

    def policy(step):
        return step.set("action", action.expand(*step.batch_size, *action.shape))

    return policy


@pytest.fixture(params=["lunarlander", "button_press"])
def recording(request):
    env = make_env(request.param, num_envs=2)
    return request.param, collect_episodes(env, constant(env), [3, 5], seed=SEED)


def test_predictions_are_what_happened_where_the_action_was_held(recording):
    name, steps = recording
    where = torch.zeros(len(steps), dtype=torch.bool)
    lengths = [int((steps["episode"] == number).sum()) for number in (3, 5)]
    rows = [0, 7, 30, lengths[0] - 2, lengths[0], lengths[0] + 11]
    where[rows] = True
    states, reached = Replay(name, SEED).ahead(steps, where, HORIZON)

    ends = [lengths[0]] * 4 + [len(steps)] * 2
    for row, end in zip(rows, ends, strict=True):
        count = min(HORIZON, end - row)
        assert reached[row].tolist() == [True] * count + [False] * (HORIZON - count)
        assert torch.equal(states[row, :count], steps["next", "observation"][row : row + count])
    assert not reached[~where].any()
    assert not states[~where].any()


def test_another_seed_is_not_what_was_recorded(recording):
    name, steps = recording
    where = torch.zeros(len(steps), dtype=torch.bool)
    where[5] = True
    message = f"episode 3 of '{name}' with seed 9 is not what was recorded: step 5 differs"
    with pytest.raises(ValueError, match=message):
        Replay(name, 9).ahead(steps, where, HORIZON)


def test_an_arm_has_no_copy(recording):
    _, steps = recording
    with pytest.raises(
        ValueError, match=r"no copy of the simulator of 'widowx_peg' can be made; choose method.horizon=0"
    ):
        Replay("widowx_peg", SEED).ahead(steps, torch.ones(len(steps), dtype=torch.bool), HORIZON)
