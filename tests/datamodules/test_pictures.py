"""Observed pictures in a recording: once on disk, checked when they are read, and served as stacks."""

import pytest
import torch
from tensordict import TensorDict

from mile.collection import collect_episodes
from mile.datamodules import BufferError, InterventionBuffer, InterventionDataModule
from mile.datamodules.pictures import shifted
from mile.datamodules.recorded import take_recording
from mile.envs import make_env
from tests.support import act_by_step, contents


@pytest.fixture
def steps():
    return collect_episodes(make_env("CountingShown-v0"), act_by_step, 3, seed=0)


@pytest.fixture
def buffer(tmp_path, steps):
    buffer = InterventionBuffer(tmp_path / "buffer", "shown", stack=3)
    for number in range(3):
        buffer.append(steps[steps["episode"] == number])
    return buffer


def test_what_was_written_is_read_back_and_no_picture_is_stored_twice(buffer, steps):
    again = InterventionBuffer(buffer.folder, "shown")
    for episode in again.episodes:
        truth, read = steps[steps["episode"] == episode.episode], again.read(episode)
        assert set(read.keys(True, True)) == set(truth.keys(True, True))
        for key, value in truth.items(True, True):
            torch.testing.assert_close(read[key], value, equal_nan=True)
    assert (buffer.folder / "pixels.bin").stat().st_size == (len(steps) + 3) * 36 * 40 * 3
    assert not (buffer.folder / "next.pixels.bin").exists()


def test_stacks_are_those_of_a_loop_over_the_episodes(buffer, steps):
    now, after = (buffer.pictures.stacks(torch.arange(len(buffer)), following)["pixels"] for following in (False, True))
    row = 0
    for number in range(3):
        episode = steps[steps["episode"] == number]
        shown = [*episode["pixels"], episode["next", "pixels"][-1]]
        for step in range(len(episode)):
            for place, stack in ((step, now), (step + 1, after)):
                expected = torch.stack([shown[max(0, place - age)] for age in (2, 1, 0)])
                assert torch.equal(stack[row], expected)
            row += 1


def test_a_damaged_picture_is_found_when_it_is_read_and_no_sooner(buffer):
    content = bytearray((buffer.folder / "pixels.bin").read_bytes())
    content[-1] ^= 1  # in the last episode
    (buffer.folder / "pixels.bin").write_bytes(content)
    again = InterventionBuffer(buffer.folder, "shown")
    again.read(again.episodes[0])
    with pytest.raises(BufferError, match=r"episode 2 of round 0 is damaged \(CRC-32 expected"):
        again.at(torch.tensor([len(again) - 1]))


def test_an_episode_that_was_not_finished_is_written_over(buffer, steps):
    before = contents(buffer.folder)
    with (buffer.folder / "pixels.bin").open("ab") as file:
        file.write(b"half a picture")
    with pytest.warns(UserWarning, match="3 complete episodes are intact"):
        again = InterventionBuffer(buffer.folder, "shown")
    more = steps[steps["episode"] == 0].clone()
    more["episode"].fill_(3)
    again.append(more)
    assert contents(buffer.folder)["pixels.bin"].startswith(before["pixels.bin"])
    torch.testing.assert_close(again.read(again.episodes[3])["pixels"], more["pixels"])


def test_pictures_that_are_cut_off_are_refused(buffer):
    with (buffer.folder / "pixels.bin").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(BufferError, match=r"pixels.bin' is truncated: expected \d+ bytes, got 100"):
        InterventionBuffer(buffer.folder, "shown")


def test_pictures_of_another_size_are_refused_and_leave_the_recording_as_it_was(buffer, steps):
    before, other = contents(buffer.folder), steps[steps["episode"] == 0].clone()
    other["episode"].fill_(7)
    other["pixels"], other["next", "pixels"] = other["pixels"][:, 1:], other["next", "pixels"][:, 1:]
    with pytest.raises(BufferError, match=r"'pixels' was recorded as .*36, 40, 3.*got .*35, 40, 3"):
        buffer.append(other)
    assert contents(buffer.folder) == before


def test_a_recording_with_pictures_is_taken_by_another_run(tmp_path, buffer):
    data = InterventionDataModule(tmp_path / "other", "shown", batch_size=16, stack=2)
    take_recording(buffer.folder, data.buffer)
    batch = next(data.batches())
    newest = batch["pixels"][:, :, 0, 0, 0].long()
    assert torch.equal(newest[:, 1], 4 * batch["step"])
    assert torch.equal(newest[:, 0], 4 * (batch["step"] - 1).clamp_min(0))
    assert torch.equal(batch["next", "pixels"][:, 1, 0, 0, 0].long(), 4 * batch["step"] + 4)


def test_a_method_is_served_the_pictures_that_it_reads(buffer):
    data = InterventionDataModule(buffer.folder, "shown", batch_size=4)
    assert "pixels" in next(data.batches()).keys()
    module = type("Module", (), {"entries": ("observation", "intervened")})
    data.trainer = type("Trainer", (), {"lightning_module": module, "global_rank": 0, "world_size": 1})()
    assert set(next(data.batches()).keys(True, True)) == {"observation", "intervened"}


def test_a_shift_moves_each_picture_as_a_whole_and_repeats_edges():
    pixels = (10 * torch.arange(6)[:, None] + torch.arange(8)).to(torch.uint8)
    batch = torch.stack([pixels] * 64)[:, None, :, :, None].expand(64, 2, 6, 8, 3)
    moved = shifted(TensorDict({"pixels": batch}, [64]), 2, torch.Generator().manual_seed(0))["pixels"]
    distances = set()
    for stack in moved:
        down, right = divmod(int(stack[0, 2, 3, 0]) - int(pixels[2, 3]) + 22, 10)
        down, right = down - 2, right - 2
        rows, columns = (torch.arange(6) + down).clamp(0, 5), (torch.arange(8) + right).clamp(0, 7)
        for picture in stack:
            assert torch.equal(picture[..., 1], pixels[rows][:, columns])
        distances.add((down, right))
    assert len(distances) > 15
    assert {distance for pair in distances for distance in pair} == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(
    ("option", "message"), [("stack", "stack must be at least 1"), ("shift", "at least 0, got -1")]
)
def test_sizes_that_make_no_sense_are_refused(tmp_path, option, message):
    with pytest.raises(ValueError, match=message):
        InterventionDataModule(tmp_path, "shown", **{option: -1})


def test_a_policy_that_acts_on_something_else_is_told_what_there_is(buffer):
    data = InterventionDataModule(buffer.folder, "shown", batch_size=4)
    module = type("Module", (), {"entries": ("observation", "camera")})
    data.trainer = type("Trainer", (), {"lightning_module": module, "global_rank": 0, "world_size": 1})()
    with pytest.raises(ValueError, match="acts on 'camera', and the recording has observation, pixels"):
        next(data.batches())
