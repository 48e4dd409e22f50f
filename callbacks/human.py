"""Writes down what a run has learnt of its human: cost, scale, and how they live in time."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mile.callbacks.rounds import RoundCallback
from mile.files import damaged, read_json, write_text

Estimates = dict[str, tuple[float, float, float]]  # by parameter: estimate, low and high end of its 95 % interval


class HumanCallback(RoundCallback):
    """Learns the human's parameters from all attempts at the end of every round, with 95 % intervals.

    Logs `human/<parameter>`, `human/<parameter>_low` and `human/<parameter>_high`, and writes them to a file. A module
    without `learn_cost` is ignored.

    Args:
        path: Path of the JSON file: parameter -> estimate, low and high end; an open end is null, and a parameter that
            was held has both ends at its value.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Learn the parameters, log them, and write them down."""
        module: Any = pl_module
        if not getattr(module, "learn_cost", False):
            return
        rows = trainer.datamodule.buffer.rows(range(number + 1))
        fit = module.fit_human(trainer.datamodule.at(rows))

        metrics: dict[str, float] = {}
        lines: dict[str, list[float | None]] = {}
        for name, value in fit.parameters().items():
            low, high = fit.intervals.get(name, (value, value))
            lines[name] = [value, low if math.isfinite(low) else None, high if math.isfinite(high) else None]
            metrics[f"human/{name}"] = value
            for end, place in (("low", low), ("high", high)):
                if name in fit.intervals and math.isfinite(place):
                    metrics[f"human/{name}_{end}"] = place

        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)
        rank_zero_only(write_text)(self.path, json.dumps(lines, indent=2) + "\n")


def read_human(path: Path) -> Estimates:
    """Return what a run has learnt of its human, by parameter; nothing if there is no such file.

    Raises:
        ValueError: The file is damaged.
    """
    if not path.exists():
        return {}
    content: Mapping[str, Any] = read_json(path)
    estimates = {}
    try:
        for name, (value, low, high) in content.items():
            ends = -math.inf if low is None else float(low), math.inf if high is None else float(high)
            estimates[str(name)] = float(value), *ends
    except (TypeError, ValueError, AttributeError) as error:
        raise damaged(path, repr(error)) from None
    return estimates
