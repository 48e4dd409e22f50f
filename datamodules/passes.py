"""The order in which rows are served: one pass over them after another."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor


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
