import gc
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import warnings
import weakref
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mile.datamodules import BufferError, InterventionBuffer
from mile.transitions import TransitionError
from tests.support import contents, episode


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


def failing(error):
    """Two episodes, and then an error."""
    yield episode(7, 5)
    yield episode(8, 5)
    raise error


def test_some_episodes_are_committed_together(recorded):
    recorded.extend(episode(number, 2) for number in (4, 3))
    again = InterventionBuffer(recorded.folder, "counting")
    assert again.recorded(2) == {3, 4}
    truth = torch.cat([episode(number, 2) for number in (3, 4)])
    assert torch.equal(again.steps["observation"][again.rows([2])], truth["observation"])


@pytest.mark.parametrize("error", [ValueError("malformed"), KeyError("actions"), OSError("full"), KeyboardInterrupt()])
def test_an_error_among_them_leaves_a_recording_as_it_was(recorded, error):
    before = contents(recorded.folder)
    with pytest.raises(type(error)):
        recorded.extend(failing(error))
    assert contents(recorded.folder) == before
    recorded.append(episode(3, 1))  # the same object goes on
    assert InterventionBuffer(recorded.folder, "counting").recorded(1) == {2, 3}


def test_an_error_among_them_leaves_no_new_folder(tmp_path):
    buffer = InterventionBuffer(tmp_path / "recordings" / "people", "counting")
    for recorded in (failing(ValueError("malformed")), [episode(0), episode(1)[:0]], [episode(0), episode(0)]):
        with pytest.raises(ValueError, match=r"malformed|at least one step|already in"):
            buffer.extend(recorded)
        assert list(tmp_path.iterdir()) == []
    buffer.extend([episode(0), episode(1)])
    assert InterventionBuffer(buffer.folder, "counting").recorded(0) == {0, 1}


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_very_end_takes_all_of_them_back(tmp_path, monkeypatch, where):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    def until_full():
        yield episode(0)
        monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), no_space)

    buffer = InterventionBuffer(tmp_path / "buffer", "counting")
    with pytest.raises(OSError, match="No space left"):
        buffer.extend(until_full())
    assert list(tmp_path.iterdir()) == []


def test_no_episodes_are_no_folder(tmp_path):
    InterventionBuffer(tmp_path / "buffer", "counting").extend([])
    assert list(tmp_path.iterdir()) == []


def test_not_more_than_two_of_them_are_in_memory(tmp_path):
    alive = []

    def many():
        for number in range(6):
            steps = episode(number)
            alive.append(weakref.ref(steps))
            yield steps
            del steps
            gc.collect()
            assert sum(one() is not None for one in alive) <= 2

    InterventionBuffer(tmp_path, "counting").extend(many())


KILLED = """
import os, signal, sys
from mile.datamodules import InterventionBuffer
from tests.support import episode
def killed():
    yield episode(0)
    yield episode(1)
    os.kill(os.getpid(), signal.SIGKILL)
InterventionBuffer(sys.argv[1], "counting").extend(killed())
"""


def test_what_a_kill_left_half_done_decides_nothing(tmp_path):
    """Neither the episodes nor their entries: the next ones may have pictures."""
    folder = tmp_path / "buffer"
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False).returncode == -signal.SIGKILL
    with pytest.warns(UserWarning, match="0 complete episodes are intact"):
        buffer = InterventionBuffer(folder, "counting")
    buffer.append(pictured(0))
    again = InterventionBuffer(folder, "counting")
    assert (again.recorded(0), "frame" in again.steps.keys()) == ({0}, True)


FOREIGN = {
    "an object": ("observation", ["O", [2]], "the type of 'observation' must be one of"),
    "raw bytes": ("observation", ["V8", [2]], "the type of 'observation' must be one of"),
    "text": ("observation", ["<U4", [2]], "the type of 'observation' must be one of"),
    "a date": ("timestamp", ["<M8[s]", []], "the type of 'timestamp' must be one of"),
    "a complex number": ("observation", ["<c8", [2]], "the type of 'observation' must be one of"),
    "a wide float": ("observation", ["<f16", [2]], "the type of 'observation' must be one of"),
    "a record": ("observation", [[["a", "<f4"]], [2]], "the type of 'observation' must be one of"),
    "a negative size": ("observation", ["<f4", [-2]], "the shape of 'observation' must be a list of sizes from 0 on"),
    "no whole size": ("observation", ["<f4", [2.5]], "the shape of 'observation' must be a list of sizes from 0 on"),
    "a size of yes": ("observation", ["<f4", [True]], "the shape of 'observation' must be a list of sizes from 0 on"),
    "no list": ("observation", ["<f4", 2], "the shape of 'observation' must be a list of sizes from 0 on"),
    "a product beyond int64": ("observation", ["<f4", [2**32, 2**32]], "is truncated: expected"),
    "a path": ("../x", ["<f4", [2]], "has the unknown entry '../x'"),
    "an absolute path": ("/etc/passwd", ["|u1", [1]], "has the unknown entry '/etc/passwd'"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_schema_of_anything_but_steps_is_refused_in_a_line(recorded, kind):
    name, entry, message = FOREIGN[kind]
    path = recorded.folder / "schema.json"
    schema = json.loads(path.read_text())
    schema["entries"][name] = entry
    path.write_text(json.dumps(schema))
    with pytest.raises(BufferError, match=re.escape(message)) as caught:
        InterventionBuffer(recorded.folder, "counting")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "\udcff", '{"format": 1, "environment": ["counting"], "entries": {}}']
)
def test_a_schema_that_is_no_json_of_ours_is_refused_in_a_line(recorded, content):
    (recorded.folder / "schema.json").write_text(content, errors="surrogateescape")
    with pytest.raises(BufferError, match="cannot be read"):
        InterventionBuffer(recorded.folder, "counting")


def test_a_schema_without_an_entry_of_steps_is_refused(recorded):
    path = recorded.folder / "schema.json"
    schema = json.loads(path.read_text())
    del schema["entries"]["next/reward"]
    path.write_text(json.dumps(schema))
    with pytest.raises(BufferError, match="lacks the entry 'next/reward'"):
        InterventionBuffer(recorded.folder, "counting")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("start", 0, r"line 2 of .* must begin at step \d+, where the one before it ends, got 0"),
        ("start", -5, r"line 2 of .* must begin at step \d+"),
        ("length", 0, "line 2 of .* must hold whole numbers and a length"),
        ("length", "9", "line 2 of .* must hold whole numbers and a length"),
        ("round", True, "line 2 of .* must hold whole numbers and a length"),
        ("color", 1, "cannot be read"),
    ],
)
def test_a_log_that_does_not_add_up_is_refused_in_a_line(recorded, name, value, message):
    path = recorded.folder / "episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1][name] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(BufferError, match=message):
        InterventionBuffer(recorded.folder, "counting")


def test_an_entry_without_numbers_is_no_error(tmp_path):
    """A state of no numbers, say: there is nothing to map."""
    steps = episode()
    steps["state"] = steps["next", "state"] = torch.zeros(len(steps), 0)
    InterventionBuffer(tmp_path, "counting").append(steps)
    assert InterventionBuffer(tmp_path, "counting").steps["state"].shape == (len(steps), 0)


WRITER = """
import sys
from mile.datamodules import InterventionBuffer
from tests.support import episode
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
    reported = 30 + len(writer.stdout.readlines())
    writer.wait()
    writer.stdout.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may or may not be a torn episode
        buffer = InterventionBuffer(folder, "counting")
    assert reported <= len(buffer.episodes) <= reported + 1
    assert json.loads((folder / "episodes.jsonl").read_text().splitlines()[-1])["episode"] == len(buffer.episodes) - 1


LOADED = """
import sys
from mile.datamodules import InterventionBuffer
print(" ".join(sys.modules))
"""


def test_a_buffer_loads_no_losses_and_no_simulator():
    output = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    loaded = set(output.split())
    assert "mile.datamodules.buffer" in loaded
    heavy = {"torchrl.objectives", "torchrl.collectors", "gymnasium.envs", "metaworld", "mujoco"}
    assert not loaded & (heavy | {"mile.methods", "mile.envs", "mile.rl"})


def forget_attention(folder):
    """Make a recording what it was before steps said who attended them."""
    schema = json.loads((folder / "schema.json").read_text())
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    for name in ("attended", "asked"):
        del schema["entries"][name]
        (folder / f"{name}.bin").unlink()
    (folder / "schema.json").write_text(json.dumps(schema))
    for line in lines:
        line["crc32"] = 0
        for name in sorted(schema["entries"]):
            dtype, shape = schema["entries"][name]
            width = np.dtype(dtype).itemsize * math.prod(shape)
            content = (folder / f"{name.replace('/', '.')}.bin").read_bytes()
            own = content[line["start"] * width : (line["start"] + line["length"]) * width]
            line["crc32"] = zlib.crc32(own, line["crc32"])
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_an_earlier_recording_was_attended_and_nothing_in_it_was_asked_for(recorded):
    forget_attention(recorded.folder)
    again = InterventionBuffer(recorded.folder, "counting")
    assert again.steps["attended"].all()
    assert not again.steps["asked"].any()
    assert again.steps["attended"].shape == again.steps["intervened"].shape

    # it goes on as it was begun, and what it could not say is refused
    again.append(episode(7))
    assert InterventionBuffer(recorded.folder, "counting").recorded(0) == {0, 1, 7}
    before = contents(recorded.folder)
    with pytest.raises(BufferError, match="was begun without 'attended'"):
        again.append(episode(8).set("attended", torch.zeros(len(episode(8)), dtype=torch.bool)))
    assert contents(recorded.folder) == before
