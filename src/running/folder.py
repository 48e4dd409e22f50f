"""The folder of a run: one process works in it at a time, and a run that was stopped continues in it."""

import difflib
import errno
import pickle
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, SoftFileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from mile.files import refuse_links, write_text
from mile.running.targets import check_config, load_config

LOCKS_UNKNOWN = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


def occupied(folder: Path) -> AbstractContextManager:
    """Keep other processes out of a run's folder; the lock falls with the process that holds it.

    On a file system without locks, as some network mounts are, a file with the process's number stands for the lock.
    It tells a process that has died on this machine from one at work, on another machine it does not.

    Raises:
        ValueError: Another process is at work there, or may be.
    """
    try:
        return FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"another run is at work in '{folder}'; wait for it, or choose another hydra.run.dir"
        ) from None
    except OSError as error:
        if error.errno not in LOCKS_UNKNOWN:
            raise
        warnings.warn(
            f"'{folder}' lies on a file system without locks ({error.strerror}); a file is used", stacklevel=2
        )
    marker = folder / ".running"
    try:
        return SoftFileLock(marker).acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"'{marker}' says that another run is at work in '{folder}'; wait for it, choose another hydra.run.dir, or "
            "delete that file if its run was killed on another machine"
        ) from None


def keep_config(cfg: DictConfig) -> None:
    """Write the config of a new run into its folder; a run that is continued has its own there."""
    path = Path(cfg.output_dir) / "config.yaml"
    if path.exists():
        return
    # these two as values; the rest refers to them, wherever the folder is moved
    values = {"output_dir": cfg.output_dir, "command": cfg.command}
    rank_zero_only(write_text)(path, OmegaConf.to_yaml(OmegaConf.merge(cfg, values)))


def continued(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the config to run: the given one, or that of a stopped run, set to go on from its newest checkpoint.

    A run is continued if `ckpt_path` names one (a checkpoint, a run's folder, or "last" for the newest run of this
    name), or if `output_dir` already holds one.

    Args:
        cfg: Config as composed from the command line.
        overrides: Overrides of the command line, without `ckpt_path`.

    Raises:
        ValueError: There is no such run, none of its checkpoints can be read, its config is another one or of another
            version, or it is foreign and would build or write what it should not.
    """
    folder, named = _find(cfg)
    if folder is None:
        return cfg

    # its config
    try:
        saved = load_config(folder / "config.yaml")
    except OSError:
        raise ValueError(
            f"'{folder}' holds no run to continue; give a run's folder or one of its checkpoints"
        ) from None
    if saved.get("format") != cfg.get("format"):
        raise ValueError(
            f"'{folder}' was begun by another version of this program, whose config has other keys (CHANGELOG.md); "
            "continue it with that version, or begin anew with another hydra.run.dir"
        )
    refuse_links(folder)
    saved.output_dir = str(folder)
    _go_by_the_command_line(saved, cfg)
    if overrides or cfg.ckpt_path in (None, "last"):
        _compare(cfg, saved)

    # its checkpoint
    newest_first = sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    checkpoint = _first_sound(sorted(newest_first, key=lambda path: path != named))
    saved.ckpt_path = None if checkpoint is None else str(checkpoint)

    # resolved once, so that what is checked is what is used
    plain: Any = OmegaConf.to_container(saved, resolve=True)
    check_config(plain, OmegaConf.to_container(cfg, resolve=True), folder)
    return DictConfig(plain)


def _go_by_the_command_line(saved: DictConfig, cfg: DictConfig) -> None:
    """Take the player of episodes and the address of a console from the command line; they change nothing in a run."""
    for key in ("collector", "env.collector"):
        if OmegaConf.select(saved, key) is not None:
            OmegaConf.update(saved, key, OmegaConf.select(cfg, key), merge=False)
    if OmegaConf.select(saved, "human.host") is not None:
        saved.human.host = OmegaConf.select(cfg, "human.host", default="127.0.0.1")
        saved.human.port = OmegaConf.select(cfg, "human.port", default=saved.human.port)
    if OmegaConf.select(saved, "human.person.console.host") is not None:
        saved.human.person.console.host = OmegaConf.select(saved, "human.host", default="127.0.0.1")


def _find(cfg: DictConfig) -> tuple[Path | None, Path | None]:
    """Return the folder of the run to continue, and the checkpoint if one is named."""
    output = Path(cfg.output_dir)
    if cfg.ckpt_path in (None, "last") and (output / "config.yaml").exists():
        return output, None
    if cfg.ckpt_path is None:
        return None, None
    if cfg.ckpt_path == "last":
        runs = sorted(output.parent.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
        if not runs:
            raise ValueError(f"there is no run in '{output.parent}' to continue")
        return runs[-1].parent, None
    path = Path(cfg.ckpt_path).absolute()
    if not path.exists():
        raise ValueError(f"'{path}' does not exist; give a run's folder, one of its checkpoints, or 'last'")
    return (path, None) if path.is_dir() else (path.parent, path)


def _first_sound(checkpoints: list[Path]) -> Path | None:
    """Return the first checkpoint that can be read, None if there is none yet.

    Raises:
        ValueError: There are some, and all are damaged.
    """
    for path in checkpoints:
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
            warnings.warn(f"'{path}' is damaged or of another program; looking for another one", stacklevel=2)
        else:
            return path
    if checkpoints:
        raise ValueError(f"no checkpoint in '{checkpoints[0].parent}' can be read; delete them to learn from the start")
    return None


def _compare(composed: DictConfig, saved: DictConfig) -> None:
    """Refuse to continue a run with another config.

    Raises:
        ValueError: The two configs differ.
    """
    own = {"output_dir": saved.output_dir, "ckpt_path": None, "command": None}
    old = OmegaConf.to_yaml(OmegaConf.merge(saved, own), resolve=True).splitlines()
    new = OmegaConf.to_yaml(OmegaConf.merge(composed, own), resolve=True).splitlines()
    different = [" ".join(line.split()) for line in difflib.ndiff(old, new) if line[:2] in ("- ", "+ ")]
    if different:
        raise ValueError(
            f"'{saved.output_dir}' holds a run with another config ({', '.join(different[:4])}); continue it with its "
            "own, or choose another hydra.run.dir"
        )
