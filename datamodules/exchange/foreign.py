"""Recordings of other projects, brought into the form of our steps and checked, so that methods learn from them."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from mile.datamodules.exchange.labels import Labels, label_entry, who_acted
from mile.transitions import DEMONSTRATION, LATER, OPTIONAL, is_picture, no_action

# entries that other projects' recordings do not have
OWN = (
    "robot_action",
    "human_action",
    "intervened",
    "attended",
    "asked",
    "intervention_prob",
    "round",
    "episode",
    "step",
    "timestamp",
    "remaining",
    "direction",
)
ACTIONS = ("executed_action", "robot_action", "human_action")
SCALARS = {  # entries of one number a step, and the types of these in a recording
    "intervened": torch.bool,
    "attended": torch.bool,
    "asked": torch.bool,
    "intervention_prob": torch.float32,
    "round": torch.int64,
    "episode": torch.int64,
    "step": torch.int64,
    "remaining": torch.int64,
    "timestamp": torch.float64,
    "reward": torch.float32,
    "terminated": torch.bool,
    "truncated": torch.bool,
    "success": torch.bool,
}


def assemble(
    own: dict[str, Any],
    *,
    number: int,
    observed: dict[str, Any],
    followers: dict[str, Any],
    action: Any,
    after: dict[str, Any],
) -> TensorDict:
    """Return one episode `[steps]`; entries that are not known become those of a demonstration.

    Where a human intervened and nobody recorded what the robot proposed, its action is NaN, or −1 if discrete.

    Args:
        own: Entries of `OWN` that are known, by name.
        number: Number of the episode.
        observed: What is observed, by name: vectors `[steps, width]`, or pictures `[steps, height, width, channels]`.
        followers: What is observed a step later, by the same names.
        action: Executed actions, `[steps, action_dim]`; if discrete, whole numbers, `[steps]` or `[steps, 1]`.
        after: Other entries of "next", by name. Where success is None, an end with a positive reward is one.

    Raises:
        ValueError: There are no steps, or an entry does not have one number or vector for each.
    """
    executed = _action("executed_action", action)
    length = len(executed)
    if not length:
        raise ValueError("at least one step is expected, got none")

    # who acted: the human, unless it is known otherwise
    intervened = _scalar("intervened", own.get("intervened", np.ones(length)), length)
    by_human = intervened.reshape(-1, *(1,) * (executed.ndim - 1))
    demonstrated = own.get("round", [DEMONSTRATION])[0] == DEMONSTRATION
    steps = {
        "robot_action": executed if demonstrated else torch.where(by_human, no_action(executed), executed),
        "human_action": torch.where(by_human, executed, no_action(executed)),
        **{name: torch.full([length], value) for name, value in LATER.items()},
        "intervention_prob": torch.full([length], torch.nan),
        "round": torch.full([length], DEMONSTRATION),
        "episode": torch.full([length], number),
        "step": torch.arange(length),
        "timestamp": torch.zeros(length, dtype=torch.float64),
    }
    for name, value in own.items():
        steps[name] = _action(name, value) if name in (*ACTIONS, "direction") else _scalar(name, value, length)
    steps |= {"intervened": intervened, "executed_action": executed}
    steps |= {name: _observation(name, value) for name, value in observed.items()}

    # the next step
    following: dict[str, Tensor] = {}
    for name, value in after.items():
        if value is not None:
            following[name] = _scalar(name, value, length)
    if "success" not in following:
        following["success"] = (following["terminated"] | following["truncated"]) & (following["reward"] > 0)

    # one of each for each step
    later = {f"next {name}": _observation(f"next {name}", value) for name, value in followers.items()}
    following |= {name: later[f"next {name}"] for name in followers}
    for name, value in (steps | later).items():
        if len(value) != length:
            raise ValueError(f"'{name}' has {len(value)} entries, expected {length}, one for each action")
    return TensorDict({**steps, "next": following}, [length])


def _numbers(name: str, value: Any) -> Tensor:
    """Return numbers in this machine's byte order."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise ValueError(f"'{name}' must be an array of numbers, got {array.dtype} {list(array.shape)}")
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("=")))


def _scalar(name: str, value: Any, length: int) -> Tensor:
    """Return one number for each step, `[steps]`."""
    numbers = _numbers(name, value)
    if numbers.numel() != length:
        raise ValueError(f"'{name}' must have {length} numbers, one for each action, got {list(numbers.shape)}")
    return numbers.reshape(length).to(SCALARS[name])


def _vector(name: str, value: Any) -> Tensor:
    """Return one vector for each step, `[steps, width]`."""
    numbers = _numbers(name, value).float()
    return numbers.unsqueeze(-1) if numbers.ndim == 1 else numbers


def _observation(name: str, value: Any) -> Tensor:
    """Return one vector for each step, or one picture, `[steps, height, width, channels]` uint8."""
    numbers = _numbers(name, value)
    return numbers if is_picture(numbers) else _vector(name, value)


def _action(name: str, value: Any) -> Tensor:
    """Return whole numbers `[steps]`, or vectors `[steps, action_dim]`."""
    numbers = _numbers(name, value)
    if numbers.is_floating_point() or numbers.shape[1:] not in ((), (1,)):
        return _vector(name, value)
    return numbers.reshape(len(numbers)).long()


def unknown_successes(source: Any, only_known: bool) -> Callable[[int], np.ndarray]:
    """Warn that a data set does not tell which episodes succeeded, and return what is assumed instead.

    Args:
        source: Name of the data set.
        only_known: Count no episode as successful; otherwise all count, with their last step.

    Returns:
        A function from an episode's length to whether each step solved the task, `[steps]` bool.
    """
    assumed = "none counts" if only_known else "all count"
    warnings.warn(
        f"'{source}' does not tell which episodes succeeded, by a flag or by a reward: {assumed} as successful",
        stacklevel=3,
    )
    return lambda length: is_last(length) & (not only_known)


def warn_left_out(source: Any, names: Iterable[str]) -> None:
    """Warn which entries of a data set are not read, if there are any."""
    if names := sorted(names):
        warnings.warn(
            f"'{source}': left out are {', '.join(names)} (no vectors of numbers, or a step has no place for them)",
            stacklevel=3,
        )


def is_last(length: int) -> np.ndarray:
    """Return `[length]` bool, true at the end."""
    return np.arange(length) == length - 1


def shifted(values: np.ndarray) -> np.ndarray:
    """Return the value that follows each of some values, the last one repeated."""
    return np.concatenate([values[1:], values[-1:]])


def own_entries(entries: dict[str, Any], labels: Labels, length: int) -> dict[str, Any]:
    """Return the entries of `OWN` that a recording has, by our names; none if nothing says who acted.

    Other projects call something else "step" or "episode", so that ours are read only where all are there.

    Args:
        entries: What is recorded of an episode, by name.
        labels: Where it says who acted.
        length: Number of steps. Of entries with one value more the first is left out, as it belongs to the reset.

    Raises:
        ValueError: An entry says who acted in words that nobody knows.
    """
    if labels.name is None and set(OWN) - LATER.keys() - OPTIONAL <= entries.keys():
        return {key: entries[key] for key in OWN if key in entries}

    # of another project
    name = label_entry(labels, entries)
    if name is None:
        return {}
    intervened, is_demonstration = who_acted(labels, name, np.asarray(entries[name])[-length:])
    own: dict[str, Any] = {"intervened": intervened}
    if not is_demonstration:
        own["round"] = np.zeros(length)
        if "robot_action" in entries:
            own["robot_action"] = np.asarray(entries["robot_action"])[-length:]
    return own


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Put a place before the messages of errors that foreign data leads to.

    Raises:
        ValueError: The data is malformed; it stands for whatever error that led to.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the system's own; what HDF5 says of a damaged file has no number
            raise
        raise ValueError(f"{place}: {error}") from error
    except (AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"{place} is not laid out as expected ({type(error).__name__}: {error})") from error
