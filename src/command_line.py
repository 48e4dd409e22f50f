"""What the entry points share: Hydra, and one line for a user's mistake."""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from mile.signals import on_stop


def entry_point(config_name: str) -> Callable[[Callable[..., Any]], Callable[[], None]]:
    """Make a function of a config the main function of a program.

    Args:
        config_name: of the primary config in `mile.configs`.
    """

    def decorate(task: Callable[..., Any]) -> Callable[[], None]:
        # inside, so that Hydra adds no lines of its own; outside, for what is wrong before the task begins
        configured = hydra.main(version_base=None, config_path="pkg://mile.configs", config_name=config_name)
        return one_line_errors(configured(one_line_errors(task)))

    return decorate


def one_line_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into one line on stderr and exit status 1; HYDRA_FULL_ERROR=1 shows the traceback."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        on_stop(_stop)
        for noisy in ("torchrl", "lightning.pytorch"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
        for noise in LIGHTNINGS_NOISE:
            warnings.filterwarnings("ignore", noise)
        if FULL_ERROR:
            return function(*args)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then lets exceptions through to here
        try:
            return function(*args)
        except Exception as error:
            cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
            by_user = isinstance(cause, (ValueError, HydraException, OmegaConfBaseException))
            kind = "" if by_user else f"{type(cause).__name__}: "
            text = " ".join(str(cause).split("\nConfig search path:")[0].split())
            line = f"error: {kind}{text} (HYDRA_FULL_ERROR=1 shows the traceback)"
            if args and HydraConfig.get().mode == RunMode.MULTIRUN:  # one job of many: Hydra goes on with the others
                print(line, file=sys.stderr)
                raise
            sys.exit(line)

    return run


def _stop(number: int) -> None:
    sys.exit(128 + number)


LIGHTNINGS_NOISE = (
    r"`isinstance\(treespec",
    "Checkpoint directory .* exists and is not empty",  # it is the run's folder
    ".*does not have many workers",  # batches are rows of a memory map
    "GPU available but not used",  # networks this small learn as fast without
    "The AccumulateGrad node's stream does not match",  # it makes DDP's model on a stream of its own
)
FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1"
