import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

from mile.collection import collect_episodes
from mile.datamodules import BufferError, InterventionBuffer
from mile.envs import make_env
from mile.transitions import TransitionError
from tests.conftest import act_by_step


def episode(number=0, deployment_round=0):
    return collect_episodes(make_env("Counting-v0"), act_by_step, [number], seed=0, deployment_round=deployment_round)


@pytest.fixture
def recorded(tmp_path):
    buffer = InterventionBuffer(tmp_path / "buffer", "counting")
    for number in range(3):
        buffer.append(episode(number, number // 2))
    return buffer


def test_what_was_written_is_read_back(recorded):
    again = InterventionBuffer(recorded.folder, "counting")
    truth = torch.cat([episode(number, number // 2) for number in range(3)])
    assert len(again) == len(truth)
    for key, value in truth.exclude("timestamp").items(True, True):
        assert torch.equal(again.steps[key], value), key
    assert again.recorded(0) == {0, 1}
    assert again.recorded(1) == {2}
    assert torch.equal(again.steps["episode"][again.rows([1])].unique(), torch.tensor([2]))


def test_rows_come_by_round_and_episode_however_they_were_written(tmp_path):
    buffer = InterventionBuffer(tmp_path, "counting")
    for number in (2, 0, 1):
        buffer.append(episode(number))
    numbers = buffer.steps["episode"][buffer.rows()]
    assert torch.equal(numbers, numbers.sort().values)


def test_steps_are_mapped_not_read(recorded):
    assert str(recorded.folder / "observation.bin") in Path("/proc/self/maps").read_text()
    recorded.steps["observation"][0] = 77.0  # a slip in memory does not reach the disk
    assert InterventionBuffer(recorded.folder, "counting").steps["observation"][0, 0] != 77.0


def pictured(number):
    steps = episode(number)
    steps["frame"] = steps["next", "frame"] = torch.zeros(len(steps), 8, dtype=torch.uint8)
    return steps


def test_a_recording_begun_without_pictures_goes_on_without(recorded):
    with pytest.warns(UserWarning, match=r"begun without \['frame', 'next/frame'\]"):
        recorded.append(pictured(4))
    again = InterventionBuffer(recorded.folder, "counting")
    assert 4 in again.recorded(0)
    assert "frame" not in again.steps.keys()


def test_a_recording_begun_with_pictures_refuses_steps_without_and_stays_whole(tmp_path):
    buffer = InterventionBuffer(tmp_path, "counting")
    buffer.append(pictured(0))
    with pytest.raises(BufferError, match=r"begun with \['frame', 'next/frame'\], these steps have none"):
        buffer.append(episode(1))
    assert InterventionBuffer(tmp_path, "counting").recorded(0) == {0}  # no torn files, which would warn


@pytest.mark.parametrize("where", ["numbers", "name"])
def test_a_torn_last_episode_is_left_out_and_the_rest_intact(recorded, where):
    before = len(recorded)
    if where == "numbers":
        with (recorded.folder / "observation.bin").open("ab") as file:
            file.write(b"torn")
        with pytest.warns(UserWarning, match="left out; 3 complete episodes"):
            again = InterventionBuffer(recorded.folder, "counting")
    else:
        with (recorded.folder / "episodes.jsonl").open("a") as file:
            file.write('{"round": 1, "epi')
        again = InterventionBuffer(recorded.folder, "counting")
    assert len(again) == before
    again.append(episode(3, 1))
    assert len(InterventionBuffer(recorded.folder, "counting").episodes) == 4


def test_a_flipped_bit_is_found(recorded):
    path = recorded.folder / "next.reward.bin"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(BufferError, match="episode 0 of round 0 is damaged"):
        InterventionBuffer(recorded.folder, "counting")


def test_a_truncated_file_is_found(recorded):
    path = recorded.folder / "observation.bin"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(BufferError, match="is truncated: expected"):
        InterventionBuffer(recorded.folder, "counting")


def test_foreign_folders_are_refused(recorded, tmp_path):
    with pytest.raises(BufferError, match="holds steps of 'counting', expected 'lunarlander'"):
        InterventionBuffer(recorded.folder, "lunarlander")
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(BufferError, match="not a buffer's folder"):
        InterventionBuffer(tmp_path, "counting")
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1, "entries": 3}', '{"format": 99, "entries": {}}'])
def test_a_broken_schema_is_refused(recorded, content):
    (recorded.folder / "schema.json").write_text(content)
    with pytest.raises(BufferError, match="cannot be read"):
        InterventionBuffer(recorded.folder, "counting")


def test_a_second_writer_is_refused_and_nothing_is_lost(recorded):
    other = InterventionBuffer(recorded.folder, "counting")
    recorded.append(episode(3, 1))
    with pytest.raises(BufferError, match="changed by another process"):
        other.append(episode(4, 1))
    assert InterventionBuffer(recorded.folder, "counting").recorded(1) == {2, 3}


def test_malformed_or_repeated_steps_are_refused_and_nothing_is_lost(recorded):
    before = len(recorded)
    with pytest.raises(BufferError, match="already in"):
        recorded.append(episode(0))
    with pytest.raises(BufferError, match="one whole episode"):
        recorded.append(torch.cat([episode(5), episode(6)]))
    with pytest.raises(TransitionError, match="at least one step"):
        recorded.append(episode(5)[:0])
    broken = episode(5)
    broken["observation"][0] = float("nan")
    with pytest.raises(TransitionError, match="'observation' must be finite"):
        recorded.append(broken)
    other = episode(5)
    other["observation"] = other["observation"].double()
    with pytest.raises(BufferError, match="'observation' was recorded as"):
        recorded.append(other)
    assert len(InterventionBuffer(recorded.folder, "counting")) == before


def test_a_full_disk_leaves_what_was_recorded(recorded, monkeypatch):
    before = len(recorded)

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            recorded.append(episode(3, 1))
    assert len(recorded) == before
    recorded.append(episode(3, 1))
    again = InterventionBuffer(recorded.folder, "counting")
    assert torch.equal(again.steps["observation"], recorded.steps["observation"])
    assert again.recorded(1) == {2, 3}


WRITER = """
import sys
from mile.datamodules import InterventionBuffer
from tests.datamodules.test_buffer import episode
buffer = InterventionBuffer(sys.argv[1], "counting")
steps = episode()
for number in range(10**6):
    steps["episode"][:] = number
    buffer.append(steps)
    print(number, flush=True)
"""


def test_a_kill_loses_at_most_the_running_episode(tmp_path):
    folder = tmp_path / "buffer"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(30):
        writer.stdout.readline()
    time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    told = 30 + len(writer.stdout.readlines())
    writer.wait()
    writer.stdout.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may or may not be a torn episode
        buffer = InterventionBuffer(folder, "counting")
    assert told <= len(buffer.episodes) <= told + 1
    assert json.loads((folder / "episodes.jsonl").read_text().splitlines()[-1])["episode"] == len(buffer.episodes) - 1
