"""Whole attempts out of recorded steps, which are a flat list."""

import torch
from tensordict import TensorDictBase
from torch import Tensor


def attempt_rows(steps: TensorDictBase) -> tuple[Tensor, Tensor]:
    """Return the rows of each attempt, padded to a common number of steps T by the attempt's last row.

    Args:
        steps: Recorded steps, `[steps]`, with the entries `round`, `episode` and `step`; attempts one after another.

    Returns:
        Rows, `[attempts, T]` int64, and false in padded steps, `[attempts, T]` bool. Entries `[attempts, T]` become
        entries `[steps]` again by indexing with the latter.

    Raises:
        ValueError: An attempt is not there from its first step on, without a gap.
    """
    begins = check_attempts(steps)
    first = begins.nonzero().squeeze(-1)
    length = torch.cat([first[1:], first.new_tensor([len(steps)])]) - first
    offset = torch.arange(int(length.max()) if len(length) else 0)
    valid = offset < length.unsqueeze(-1)
    rows = first.unsqueeze(-1) + torch.minimum(offset, length.unsqueeze(-1) - 1)
    return rows, valid


def check_attempts(steps: TensorDictBase) -> Tensor:
    """Return which of the steps are an attempt's first one, `[steps]` bool.

    Raises:
        ValueError: An attempt is not there from its first step on, without a gap.
    """
    number, step = torch.stack([steps["round"], steps["episode"]], -1).cpu(), steps["step"].cpu()
    begins = step == 0
    follows = torch.zeros_like(begins)
    follows[1:] = (number[1:] == number[:-1]).all(-1) & (step[1:] == step[:-1] + 1)
    torn = ~(begins | follows)
    if torn.any():
        row = int(torn.nonzero()[0])
        raise ValueError(
            f"whole attempts are needed, got step {int(step[row])} of episode {int(number[row, 1])} without the step "
            "before; learn from whole episodes, or choose a method (of MILE method.timing=memoryless) that learns from "
            "single steps"
        )
    return begins
