"""The order in which rows are served: one pass over them after another; and which are never drawn."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mile.transitions import acted


def batches_of(size: int, count: int, draw: Tensor | None, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield `[size]` row numbers at a time, without end, from one pass over `count` rows after another."""
    left = torch.empty(0, dtype=torch.int64)
    while True:
        if len(left) < size:
            passes = [left]
            for _ in range(math.ceil((size - len(left)) / count)):
                passes.append(one_pass(count, draw, generator))
            left = torch.cat(passes)
        yield left[:size]
        left = left[size:]


def one_pass(count: int, draw: Tensor | None, generator: torch.Generator) -> Tensor:
    """Return the rows of one pass: each once, or drawn with replacement."""
    if draw is None:
        return torch.randperm(count, generator=generator)
    # by inversion of the cumulative weights: torch.multinomial ends at 2²⁴ rows
    ends = draw.double().cumsum(0)
    chance = torch.rand(count, dtype=torch.float64, generator=generator) * ends[-1]
    return torch.searchsorted(ends, chance, right=True).clamp_max(count - 1)


def without_corrections(recorded: Any, rows: Tensor, draw: Tensor | None, method: Any) -> Tensor | None:
    """Return how often steps are drawn: never where a human corrected without an action, which few methods learn from.

    Args:
        recorded: All recorded steps.
        rows: Rows that are served, `[steps]`.
        draw: How often the method wants each of them, `[steps]`; None: all equally often.
        method: Method.
    """
    if "direction" not in recorded.keys() or getattr(method, "learns_corrections", False):
        return draw
    steps = recorded.select("human_action", "intervened")[rows]
    useful = acted(steps["human_action"]) | ~steps["intervened"]
    return useful.float() if draw is None else draw * useful
