"""Checks a config that lies beside a recording: it may build what the shipped configs build there, and nothing else."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

PACKAGE = re.compile(r"# @package (\S+)")  # Hydra's header: the place of a file's entries
REFERENCE = re.compile(r"\$\{(?:oc\.select:)?(\w+)\}")  # to another part of the config, as a whole
WRITTEN = {"folder", "path", "save_dir", "dirpath", "default_root_dir", "filename", "output"}  # keys of places
ARM = "mile.hardware.desk.Desk"  # a real one moves only where the command line says so
FIXED = ("logger", "trainer")  # parts of Lightning's, which take far more than shipped configs give them

Place = tuple[str, ...]  # keys from the root of a config on


def load_config(path: Path) -> DictConfig:
    """Read a config, which may come from anywhere.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no config; or YAML's aliases repeat parts of it, of which a few lines may make gigabytes.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(path.read_bytes(), yaml.SafeLoader)):
            raise ValueError("it has YAML aliases (*), which a run's config never has")
        cfg = OmegaConf.load(path)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    if not isinstance(cfg, DictConfig):
        raise ValueError(f"'{path}' holds no config: keys and values are expected, got a list")
    return cfg


def check_config(plain: Any, composed: Any, folder: Path) -> None:
    """Refuse the config of a run's folder that would build, or write to, what it has no business with.

    Allowed is what shipped configs, or the command line itself, have at the same place: a target by its complete name,
    and at home in the package that it names, as `mile.train.Path` is not; and a folder outside of the run's own.

    Args:
        plain: Config from the folder, resolved: what is checked is what is used.
        composed: Config that the command line has composed, resolved; it is trusted.
        folder: Folder of the run.

    Raises:
        ValueError: It is refused; nothing was built.
    """
    trusted = set(_entries(composed))
    known = shipped_entries() | trusted
    places = {place for place, _ in known}

    for place, value in _entries(plain):
        allowed, where = (place, value) in known, ".".join(place)

        # what is wrong with this entry, if anything
        if isinstance(value, str) and "${" in value:
            reason = f"holds '{value}' at '{where}', which is not resolved"
        elif place[-1] == "_target_" and not (allowed and _at_home(value)):
            reason = f"would build '{value}' at '{'.'.join(place[:-1])}', as no shipped config does"
        elif value == ARM and (place, value) not in trusted:
            reason = "would move a real arm, which the command line does not name"
        elif place[-1] in WRITTEN and isinstance(value, str) and not (allowed or _is_within(folder, value)):
            reason = f"would write to '{value}' ({where}), outside of its folder"
        elif (
            place[0] in FIXED
            and value is not None
            and (place not in places or (place[-1] in ("name", "version") and not allowed))
        ):
            reason = f"has '{value}' at '{where}', as no shipped config does"
        else:
            continue

        raise ValueError(
            f"'{folder / 'config.yaml'}' {reason}: nothing was built; to continue a run of your own, repeat its "
            "command with hydra.run.dir=<its folder>"
        )


@cache
def shipped_entries() -> frozenset[tuple[Place, Any]]:
    """Return all entries of the shipped configs, each with the place at which Hydra puts it."""
    folder = Path(str(files("mile.configs")))
    entries: set[tuple[Place, Any]] = set()
    for path in sorted(folder.rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        group = path.relative_to(folder).parent.parts
        if header := PACKAGE.match(text):
            group = () if header[1] == "_global_" else tuple(header[1].split("."))
        entries |= {((*group, *place), value) for place, value in _entries(yaml.safe_load(text))}

    # "bench: ${hardware}" has there what is at "hardware", which may itself refer to other parts
    while True:
        referred = set()
        for place, value in entries:
            reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if reference:
                referred |= {((*place, *other[1:]), held) for other, held in entries if other[0] == reference[1]}
        referred = {(place, value) for place, value in referred if len(place) < 8} - entries
        if not referred:
            return frozenset(entries)
        entries |= referred


def _entries(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield the place and the value of each entry that holds no others, at any depth."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _entries(part, (*place, str(key)))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _entries(part, (*place, str(number)))
    elif place:
        yield place, value


def _at_home(name: str) -> bool:
    """Return whether what a name resolves to was made in the package that is named, under that name."""
    target = get_object(name)
    package, own_name = name.split(".", maxsplit=1)[0], name.rsplit(".", 1)[-1]
    return getattr(target, "__module__", "").split(".")[0] == package and target.__qualname__ == own_name


def _is_within(folder: Path, place: str) -> bool:
    return Path(place).absolute().resolve().is_relative_to(folder.absolute().resolve())
