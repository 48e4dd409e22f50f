"""Results that depend on policies, environment and settings alone: they ship beside policies, or are kept in a folder.

An entry is a JSON file {"depends_on": …, "value": …}, named by a digest of all that the value depends on. Entries of
policies that ship lie beside these in `mile.checkpoints`; all others in the folder that the environment variable
MILE_CACHE names, `~/.cache/mile` by default. The versions of the simulators are not a part of the key.
"""

import hashlib
import inspect
import json
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save

from mile.envs import ScheduledEnv
from mile.envs.make import ENVIRONMENTS
from mile.files import read_json, write_text
from mile.policies import Policy

FORMAT = 1  # to be raised when a value of the same key would come out differently
FREE_OPTIONS = ("_target_", "seed", "num_envs", "collector", "render_mode")  # of an environment; they change no episode

Key = dict[str, Any]


def fingerprint(policy: Policy) -> str:
    """Return a digest of all that decides how a policy acts: kind, architecture, input and weights."""
    weights = {name: tensor.float().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    words = json.dumps([type(policy).__name__, policy.architecture, ",".join(policy.in_keys)], sort_keys=True)
    return hashlib.sha256(words.encode() + save(weights)).hexdigest()


def describe_environment(cfg: DictConfig, env: ScheduledEnv) -> Key:
    """Return all that decides the episodes of an environment but their seed.

    Args:
        cfg: Config of the environment.
        env: The environment; if it is none of this package, the file of its simulator's class is a part.
    """
    options: Any = OmegaConf.to_container(cfg, resolve=True)
    for name in FREE_OPTIONS:
        options.pop(name, None)
    if env.name not in ENVIRONMENTS and not type(env.simulator).__module__.startswith("mile."):
        try:
            source = Path(inspect.getfile(type(env.simulator))).read_bytes()
        except (TypeError, OSError):  # no file, as in a notebook: what the class does is never known to be the same
            source = os.urandom(16)
        options["source"] = hashlib.sha256(source).hexdigest()
    return {name: value for name, value in options.items() if value is not None}


def recall(kind: str, depends_on: Key, is_valid: Callable[[Any], bool]) -> Any:
    """Return the value of an entry, None if there is none that can be used.

    Args:
        kind: Kind of the value, with which the file's name begins.
        depends_on: All that the value depends on.
        is_valid: Function that tells whether a value is one of this kind.
    """
    for folder in (shipped_folder(depends_on), cache_folder()):
        path = folder / _file_name(kind, depends_on)
        if not path.is_file():
            continue
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # the warning follows
            entry = read_json(path)
            if entry["depends_on"] == depends_on and is_valid(entry["value"]):
                return entry["value"]
        warnings.warn(f"'{path}' is damaged or foreign: it is ignored, and made anew", stacklevel=2)
    return None


@rank_zero_only
def store(kind: str, depends_on: Key, value: Any) -> None:
    """Write an entry into the cache folder, if that is possible.

    Args:
        kind: Kind of the value.
        depends_on: All that the value depends on.
        value: Value, as plain numbers, texts, lists and dictionaries.
    """
    path = cache_folder() / _file_name(kind, depends_on)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError, FileNotFoundError):  # another run writes the same at this moment
            write_text(path, json.dumps({"depends_on": depends_on, "value": value}, indent=1) + "\n")
    except OSError as error:
        warnings.warn(f"'{path}' cannot be written ({error}); set MILE_CACHE to a folder that can", stacklevel=2)


def cache_folder() -> Path:
    """Return the folder of the entries of this user."""
    return Path(os.environ.get("MILE_CACHE", "~/.cache/mile")).expanduser()


def shipped_folder(depends_on: Key) -> Path:
    """Return the folder of the entries that ship with an environment's policies; there may be none."""
    name = str(depends_on["environment"]["name"])
    return Path(str(files("mile.checkpoints"))) / Path(name).name


def _file_name(kind: str, depends_on: Key) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, kind, depends_on], sort_keys=True).encode()).hexdigest()
    return f"{kind}-{digest[:16]}.json"
