import pytest
import torch

from mile.datamodules import ReplayDataModule
from mile.datamodules.replay import intervention_rewards
from mile.transitions import DEMONSTRATION, for_torchrl
from tests.support import episode, marked


@pytest.mark.parametrize(
    ("intervened", "rewards"),
    [
        ([0, 0, 1, 1, 0, 0], [0, -1, 0, 0, 0, 0]),
        ([1, 1, 0], [0, 0, 0]),
        ([1, 0, 1, 0, 0, 1], [0, -1, 0, 0, -1, 0]),
        ([0], [0]),
    ],
)
def test_the_step_before_an_onset_is_punished(intervened, rewards):
    assert intervention_rewards(marked(intervened)).tolist() == rewards


def test_no_episode_is_punished_for_the_next_one():
    assert intervention_rewards(marked([0, 0], [1, 0])).tolist() == [0, 0, 0, 0]


def test_the_task_is_not_rewarded_and_time_running_out_is_no_end():
    steps = episode(0, 0)
    steps["next", "reward"].fill_(100)
    steps["next", "truncated"][-1], steps["next", "terminated"][-1] = True, False
    made = for_torchrl(steps, ["observation"], intervention_rewards(steps))
    assert made["next", "reward"].abs().max() <= 1
    assert made["next", "done"][-1]
    assert not made["next", "terminated"][-1]
    assert torch.equal(made["action"], steps["executed_action"])


@pytest.fixture
def data(tmp_path):
    data = ReplayDataModule(tmp_path, "counting", batch_size=8, updates_per_step=3)
    data.buffer.append(episode(0, 0))
    data.buffer.append(episode(1, 1))
    return data


def test_every_new_step_brings_its_updates(data):
    batches = list(data.batches())
    assert len(batches) == data.buffer.episodes[-1].length
    assert {batch.shape for batch in batches} == {(3, 8)}


def test_half_of_every_minibatch_is_demonstrated(data):
    demonstration = episode(0, DEMONSTRATION)
    demonstration["observation"].fill_(77.0)
    demonstration["intervened"].fill_(True)
    demonstration["human_action"] = demonstration["robot_action"].clone()
    data.buffer.append(demonstration)
    for batch in data.batches():
        demonstrated = (batch["observation"] == 77).all(-1)
        assert (demonstrated.sum(-1) == 4).all()


def test_the_order_depends_on_seed_and_epoch_alone(data, tmp_path):
    again = ReplayDataModule(tmp_path, "counting", batch_size=8, updates_per_step=3)
    first = [list(module.batches()) for module in (data, again)]
    for one, other in zip(*first, strict=True):
        torch.testing.assert_close(one["observation"], other["observation"], equal_nan=True)


def test_settings_below_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="updates_per_step must be at least 1, got 0"):
        ReplayDataModule(tmp_path, "counting", updates_per_step=0)
