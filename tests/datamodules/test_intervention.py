import pytest
import torch

from mile.datamodules import InterventionDataModule
from tests.datamodules.test_buffer import episode


@pytest.fixture
def data(tmp_path):
    data = InterventionDataModule(tmp_path, "counting", batch_size=8)
    for number in range(4):
        data.buffer.append(episode(number, number // 2))
    return data


def identity(batch):
    return list(zip(batch["episode"].tolist(), batch["step"].tolist(), strict=True))


def test_an_epoch_shows_every_step_once_in_an_order_of_its_own(data):
    epochs = [[pair for batch in data.train_dataloader() for pair in identity(batch)] for _ in range(2)]
    everything = list(zip(data.buffer.steps["episode"].tolist(), data.buffer.steps["step"].tolist(), strict=True))
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(everything)
    assert epochs[0] != epochs[1]


def test_a_fixed_number_of_batches(tmp_path):
    data = InterventionDataModule(tmp_path, "counting", batch_size=8, batches_per_epoch=50)
    data.buffer.append(episode())
    assert len(list(data.train_dataloader())) == 50


def test_the_buffer_may_grow_and_rounds_be_held_back(data):
    data.rounds = range(1)
    assert {number for batch in data.train_dataloader() for number in batch["episode"].tolist()} == {0, 1}
    data.rounds = range(2)
    assert {number for batch in data.train_dataloader() for number in batch["episode"].tolist()} == {0, 1, 2, 3}


def test_state_dict_continues_the_order(data, tmp_path):
    list(data.train_dataloader())
    state = data.state_dict()
    expected = [identity(batch) for batch in data.train_dataloader()]
    again = InterventionDataModule(tmp_path, "counting", batch_size=8, seed=99)
    again.load_state_dict(state)
    assert [identity(batch) for batch in again.train_dataloader()] == expected


def test_an_empty_buffer_serves_nothing(tmp_path):
    assert list(InterventionDataModule(tmp_path, "counting").train_dataloader()) == []


@pytest.mark.parametrize("name", ["batch_size", "batches_per_epoch"])
def test_counts_below_one_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        InterventionDataModule(tmp_path, "counting", **{name: 0})


def test_batches_are_copies(data):
    batch = next(iter(data.train_dataloader()))
    batch["observation"].zero_()
    assert torch.count_nonzero(data.buffer.steps["observation"]) > 0
