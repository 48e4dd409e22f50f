import errno
import fcntl
import os
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mile.running.folder import continued, occupied


def config(folder, ckpt_path=None, **options):
    own = {"output_dir": str(folder), "ckpt_path": ckpt_path, "buffer": "${output_dir}/buffer"}
    return OmegaConf.create({"seed": 0, "command": "…", **options, **own})


@pytest.fixture
def stopped(tmp_path):
    """A run with two checkpoints, the second one newer."""
    folder = tmp_path / "2026"
    folder.mkdir()
    OmegaConf.save(config(folder), folder / "config.yaml")
    for age, name in ((2, "epoch_9.ckpt"), (1, "epoch_19.ckpt")):
        torch.save({"epoch": 0}, folder / name)
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    return folder


def test_a_fresh_folder_gets_the_config_as_given(tmp_path):
    cfg = config(tmp_path)
    assert continued(cfg, ["seed=0"]) is cfg


def test_the_same_command_in_the_same_folder_goes_on_from_the_newest_checkpoint(stopped):
    cfg = continued(config(stopped, command="other words"), ["seed=0"])
    assert Path(cfg.ckpt_path) == stopped / "epoch_19.ckpt"


@pytest.mark.parametrize("named", [".", "epoch_9.ckpt", "last"])
def test_a_run_is_found_from_another_folder(stopped, named):
    path = named if named == "last" else str(stopped / named)
    cfg = continued(config(stopped.parent / "fresh", path), [])
    assert cfg.output_dir == str(stopped)
    assert Path(cfg.ckpt_path).name == ("epoch_9.ckpt" if named == "epoch_9.ckpt" else "epoch_19.ckpt")


def test_a_run_without_a_checkpoint_begins_anew_with_what_it_recorded(stopped):
    for path in stopped.glob("*.ckpt"):
        path.unlink()
    assert continued(config(stopped), []).ckpt_path is None


@pytest.mark.parametrize("named", [None, "."])
def test_a_run_that_was_moved_goes_on_where_it_is_now(stopped, named):
    moved = stopped.rename(stopped.parent / "moved")
    cfg = continued(config(moved if named is None else stopped, named and str(moved)), ["seed=0"])
    assert cfg.output_dir == str(moved)
    assert cfg.buffer == str(moved / "buffer")


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(stopped):
    (stopped / "epoch_19.ckpt").write_bytes((stopped / "epoch_19.ckpt").read_bytes()[:-100])
    with pytest.warns(match="epoch_19.ckpt' is damaged"):
        cfg = continued(config(stopped), [])
    assert Path(cfg.ckpt_path).name == "epoch_9.ckpt"


@pytest.mark.filterwarnings("ignore:.*is damaged")
def test_damaged_checkpoints_alone_are_refused(stopped):
    for path in stopped.glob("*.ckpt"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read"):
        continued(config(stopped), [])


def test_another_config_is_refused(stopped):
    with pytest.raises(ValueError, match=r"another config \(- seed: 0, \+ seed: 7\)"):
        continued(config(stopped, seed=7), ["seed=7"])
    with pytest.raises(ValueError, match="another config"):
        continued(config(stopped.parent / "fresh", str(stopped), seed=7), ["seed=7"])
    assert continued(config(stopped.parent / "fresh", str(stopped), seed=7), []).seed == 0  # its own, nothing asked


@pytest.mark.parametrize(("path", "message"), [("last", "there is no run in"), ("nowhere", "does not exist")])
def test_no_run_to_continue(tmp_path, path, message):
    with pytest.raises(ValueError, match=message):
        continued(config(tmp_path / "fresh", path), [])


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no run to continue"):
        continued(config(tmp_path / "fresh", str(tmp_path)), [])


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with occupied(tmp_path), pytest.raises(ValueError, match="another run is at work"), occupied(tmp_path):
        pass
    with occupied(tmp_path):
        pass


def test_a_run_goes_on_at_another_port(stopped):
    folder, human = stopped, {"host": "127.0.0.1", "port": 8765}
    OmegaConf.save(config(folder, human=human), folder / "config.yaml")
    assert continued(config(folder, human={**human, "port": 9000}), ["human.port=9000"]).human.port == 9000


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_still_holds_one_run_alone(tmp_path, monkeypatch, number):
    """flock fails as it does on a network mount without a lock daemon."""

    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = "without locks|falling back|does not support"  # by us, or by filelock itself
    with pytest.warns(match=said):
        lock = occupied(tmp_path)
    with lock, pytest.warns(match=said), pytest.raises(ValueError, match="another run is at work in"):
        occupied(tmp_path)
    with pytest.warns(match=said), occupied(tmp_path):  # it is free again
        pass


def test_other_faults_of_a_lock_are_not_hidden(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="I/O error"):
        occupied(tmp_path)


def test_a_run_of_another_version_is_refused_in_one_line(stopped):
    with pytest.raises(ValueError, match=r"was begun by another version of this program, .*; continue it with that"):
        continued(config(stopped, format=2), ["seed=0"])
