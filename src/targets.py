"""What a config that lies beside a recording may build: what the shipped configs build there, and nothing else."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

REFERENCE = re.compile(r"\$\{(?:oc\.select:)?(\w+)\}")  # to another part of the config, as a whole


def check_targets(cfg: DictConfig, composed: DictConfig) -> None:
    """Refuse a config from a run's folder that would build anything unknown.

    Allowed are the complete names that shipped configs, or the command line itself, have at a key of the same name.
    What a name resolves to must be at home in the package that it names: `mile.train.Path` is not ours.

    Args:
        cfg: Config from a folder.
        composed: Config that the command line has composed, which is trusted.

    Raises:
        ValueError: It names another target; nothing was built.
    """
    allowed = shipped_targets() | {(key, name) for _, key, name in _targets(_plain(composed))}
    for place, key, name in _targets(_plain(cfg)):
        if (key, name) not in allowed or not _at_home(name):
            raise ValueError(
                f"'{cfg.output_dir}/config.yaml' would build '{name}' at '{place}', as no shipped config does: nothing "
                "was built; to continue a run of your own, repeat its command with hydra.run.dir=<its folder>"
            )


@cache
def shipped_targets() -> frozenset[tuple[str, str]]:
    """Return the targets in shipped configs, each with the key that it stands at."""
    folder = Path(str(files("mile.configs")))
    documents = [(path, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in sorted(folder.rglob("*.yaml"))]

    # a group's own target stands at the group's key
    found = {(key or path.parent.name, name) for path, document in documents for _, key, name in _targets(document)}

    # "bench: ${hardware}" stands for what is at "hardware"
    for _, document in documents:
        for key, value in _entries(document):
            reference = REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if reference:
                found |= {(key, name) for other, name in found if other == reference[1]}
    return frozenset(found)


def _plain(cfg: DictConfig) -> Any:
    """Return a config with everything resolved, as the one that builds from it sees it."""
    return OmegaConf.to_container(cfg, resolve=True)


def _targets(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield the place, its last key and the name of each target, at any depth."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield ".".join(place), place[-1] if place else "", str(value["_target_"])
        for key, part in value.items():
            yield from _targets(part, (*place, str(key)))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _targets(part, (*place, str(number)))


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key with its value, at any depth."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield str(key), part
            yield from _entries(part)


def _at_home(name: str) -> bool:
    """Return whether what a name resolves to was made in the package that is named, under that name."""
    target = get_object(name)
    package, own_name = name.split(".", maxsplit=1)[0], name.rsplit(".", 1)[-1]
    return getattr(target, "__module__", "").split(".")[0] == package and target.__qualname__ == own_name
