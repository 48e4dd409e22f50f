"""What all programs share: one line for a user's mistake, an output that never stops a run, and Hydra's entry."""

import errno
import functools
import hashlib
import itertools
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mile.files import in_a_line
from mile.running.signals import on_stop

LONGEST_NAME = 200  # bytes, of a folder; most file systems end at 255
LIGHTNINGS_NOISE = (
    r"`isinstance\(treespec",
    "Checkpoint directory .* exists and is not empty",  # it is the run's folder
    ".*does not have many workers",  # batches are rows of a memory map
    "GPU available but not used",  # networks this small learn as fast without
    "The AccumulateGrad node's stream does not match",  # it makes DDP's model on a stream of its own
)
FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"


def entry_point(config_name: str) -> Callable[[Callable[..., Any]], Callable[[], None]]:
    """Make a function of a config the main function of a program.

    Args:
        config_name: Name of the primary config in `mile.configs`; the program is called `mile-<config_name>`.
    """

    def decorate(task: Callable[..., Any]) -> Callable[[], None]:
        @functools.wraps(task)
        def run(cfg: DictConfig) -> Any:
            # from here on nothing makes folders: a config may come from elsewhere
            OmegaConf.register_new_resolver("new_folder", _new_folders.__getitem__, replace=True)
            if "command" in cfg:
                cfg.command = shlex.join([f"mile-{config_name}", *HydraConfig.get().overrides.task])
            return task(cfg)

        # inside, so that Hydra adds no lines of its own; outside, for what is wrong before the task begins
        configured = hydra.main(version_base=None, config_path="pkg://mile.configs", config_name=config_name)
        inner = configured(one_line_errors(run))

        @functools.wraps(task)
        def main() -> None:
            OmegaConf.register_new_resolver("new_folder", new_folder, replace=True)
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then lets exceptions through to here
            inner()

        return one_line_errors(main)

    return decorate


def one_line_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into one line on stderr and exit status 1; HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        _prepare()
        if FULL_ERROR:
            return function(*args)
        try:
            return function(*args)
        except Exception as error:
            line = f"error: {_words(error)} (HYDRA_FULL_ERROR=1 shows the traceback)"
            if args and HydraConfig.get().mode == RunMode.MULTIRUN:  # one job of many: Hydra goes on with the others
                print(line, file=sys.stderr)
                raise
            sys.exit(line)

    return run


def override(key: str, value: str | Path) -> str:
    """Return a word of the command line that gives a key this text, whatever is in it."""
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z0-9_./:+-]*", text)
    return f"{key}={text if plain else QuotedString(text, Quote.double).with_quotes()}"


def new_folder(wanted: str) -> str:
    """Make the folder of a new run, or one with the next name if it exists, and return its name."""
    if wanted not in _new_folders:
        for number in itertools.count(1):
            name = wanted if number == 1 else f"{wanted}_{number}"
            try:
                Path(name).mkdir(parents=True)
            except FileExistsError:
                continue
            _new_folders[wanted] = name
            break
    return _new_folders[wanted]


def job_folder(overrides: str) -> str:
    """Return a folder's name for a job of a sweep: its overrides in letters that need no quotes anywhere."""
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", overrides)
    if name != overrides or len(name) > LONGEST_NAME:
        name = name[:LONGEST_NAME] + "_" + hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return name


_new_folders: dict[str, str] = {}
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


class _Unbroken:
    """An output whose reader may leave, as in `mile-train | head -1`: what is said then is lost, and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text, if anybody reads it."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written, if anybody reads it."""
        self._try(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, say: Callable[[], Any]) -> None:
        try:
            say()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL: Windows' word for it
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())


def _prepare() -> None:
    """Set up signals, warnings and outputs, for every program alike."""
    on_stop(_stop)

    # outputs: a character that a terminal does not know must not end a run, nor a reader who leaves
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is not None and not isinstance(stream, _Unbroken):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
            setattr(sys, name, _Unbroken(stream))

    # warnings: one line each, and none that says nothing to a user
    logging.disable(logging.INFO)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for noise in LIGHTNINGS_NOISE:
        warnings.filterwarnings("ignore", noise)


def _words(error: Exception) -> str:
    """Return what went wrong as one line."""
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    word = _unreadable() if type(cause).__name__ in ("OverrideParseException", "LexerNoViableAltException") else None
    if word is not None:
        quoted = shlex.quote(override(*word.split("=", 1)))
        return f"'{word}' cannot be read as key=value; in quotes for Hydra and for the shell it is: {quoted}"
    by_user = isinstance(cause, (ValueError, OSError, ModuleNotFoundError, HydraException, OmegaConfBaseException))
    kind = "" if by_user else f"{type(cause).__name__}: "
    return kind + in_a_line(str(cause).split("\nConfig search path:")[0])


def _unreadable() -> str | None:
    """Return the first word key=value of the command line that Hydra's grammar does not take."""
    parser = OverridesParser.create()
    for word in sys.argv[1:]:
        try:
            parser.parse_override(word)
        except Exception:  # ANTLR's and Hydra's own
            if "=" in word:
                return word
    return None


def _stop(number: int) -> None:
    sys.exit(128 + number)
