import itertools
from types import SimpleNamespace

import pytest
import torch

from mile.datamodules import InterventionDataModule
from mile.datamodules.passes import batches_of, one_pass
from tests.support import episode


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
    first_passes = [pairs[: len(everything)] for pairs in epochs]
    assert sorted(first_passes[0]) == sorted(first_passes[1]) == sorted(everything)
    assert first_passes[0] != first_passes[1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("count", [1, 3, 256, 257, 1000])
def test_all_batches_are_full_and_a_pass_follows_the_other(count, weighted):
    draw = torch.ones(count) if weighted else None
    batches = list(itertools.islice(batches_of(256, count, draw, torch.Generator().manual_seed(0)), 10))
    assert {len(batch) for batch in batches} == {256}
    if not weighted:
        often = torch.cat(batches).bincount(minlength=count)
        assert often.max() - often.min() <= 1


def test_weighted_rows_are_drawn_as_often_as_they_weigh_also_beyond_2_to_the_24():
    count = 2**24 + 2
    draw = torch.ones(count)
    draw[0], draw[-1] = count, 2 * count
    drawn = one_pass(count, draw, torch.Generator().manual_seed(0))
    for row, share in ((0, 0.25), (count - 1, 0.5)):
        assert (drawn == row).double().mean() == pytest.approx(share, abs=4 * (0.25 / count) ** 0.5)


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


def test_all_steps_may_lie_on_the_device(data, tmp_path):
    there = InterventionDataModule(tmp_path, "counting", batch_size=8, on_device=True)
    there.trainer = SimpleNamespace(
        global_rank=0, world_size=1, lightning_module=None, strategy=SimpleNamespace(root_device="cpu")
    )
    for number in (4, 5):  # an epoch, one more episode, an epoch
        for batch, other in zip(data.batches(), there.batches(), strict=True):
            torch.testing.assert_close(batch["observation"], other["observation"], equal_nan=True)
        data.buffer.append(episode(number, 2))
        there.buffer = data.buffer


@pytest.mark.parametrize("name", ["batch_size", "batches_per_epoch"])
def test_counts_below_one_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        InterventionDataModule(tmp_path, "counting", **{name: 0})


def test_batches_are_copies(data):
    batch = next(iter(data.train_dataloader()))
    batch["observation"].zero_()
    assert torch.count_nonzero(data.buffer.steps["observation"]) > 0


@pytest.mark.parametrize("batches_per_epoch", [None, 3])
def test_ranks_take_turns_at_the_batches_of_one_pass(data, batches_per_epoch):
    data.batches_per_epoch = batches_per_epoch
    (whole,) = served_by(data, 1, epochs_served=0)
    ranks = served_by(data, 2, epochs_served=0)
    assert len(ranks[0]) == len(ranks[1])
    turns = [batch for pair in zip(*ranks, strict=True) for batch in pair]
    assert turns[: len(whole)] == whole[: len(turns)]


@pytest.mark.parametrize("batches_per_epoch", [None, 3])
def test_ranks_share_the_rows_of_one_process_with_larger_batches(data, batches_per_epoch):
    data.batches_per_epoch = batches_per_epoch
    ranks = served_by(data, 2, epochs_served=0)
    data.batch_size = 2 * data.batch_size
    (whole,) = served_by(data, 1, epochs_served=0)
    assert [first + second for first, second in zip(*ranks, strict=True)] == whole


def served_by(data, ranks, epochs_served):
    batches = []
    for rank in range(ranks):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=ranks, lightning_module=None)
        data.epochs_served = epochs_served
        batches.append([identity(batch) for batch in data.batches()])
    data.trainer = None
    return batches
