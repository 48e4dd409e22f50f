"""Recordings of other projects, brought into the form of our steps and checked, so that methods learn from them."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from mile.transitions import DEMONSTRATION, LATER, check_transitions, no_action

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
    "timestamp": torch.float64,
    "reward": torch.float32,
    "terminated": torch.bool,
    "truncated": torch.bool,
    "success": torch.bool,
}


def assemble(own: dict[str, Any], *, number: int, observation: Any, action: Any, after: dict[str, Any]) -> TensorDict:
    """Return one episode `[steps]`; entries that are not known become those of a demonstration.

    Args:
        own: Entries of `OWN` that are known, by name.
        number: Number of the episode.
        observation: Observations, `[steps, observation_dim]`.
        action: Executed actions, `[steps, action_dim]`; if discrete, whole numbers, `[steps]` or `[steps, 1]`.
        after: Entries of "next", by name. Where success is None, an end with a positive reward is one.

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
    steps = {
        "robot_action": executed.clone(),
        "human_action": torch.where(by_human, executed, no_action(executed)),
        **{name: torch.full([length], value) for name, value in LATER.items()},
        "intervention_prob": torch.full([length], torch.nan),
        "round": torch.full([length], DEMONSTRATION),
        "episode": torch.full([length], number),
        "step": torch.arange(length),
        "timestamp": torch.zeros(length, dtype=torch.float64),
    }
    for name, value in own.items():
        steps[name] = _action(name, value) if name in ACTIONS else _scalar(name, value, length)
    steps |= {"intervened": intervened, "observation": _vector("observation", observation), "executed_action": executed}

    # the next step
    following: dict[str, Tensor] = {}
    for name, value in after.items():
        if name != "observation" and value is not None:
            following[name] = _scalar(name, value, length)
    following["observation"] = _vector("next observation", after["observation"])
    if "success" not in following:
        following["success"] = (following["terminated"] | following["truncated"]) & (following["reward"] > 0)

    # one of each for each step
    for name, value in (*steps.items(), ("next observation", following["observation"])):
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


def _action(name: str, value: Any) -> Tensor:
    """Return whole numbers `[steps]`, or vectors `[steps, action_dim]`."""
    numbers = _numbers(name, value)
    if numbers.is_floating_point() or numbers.shape[1:] not in ((), (1,)):
        return _vector(name, value)
    return numbers.reshape(len(numbers)).long()


def fitted(
    episodes: Iterable[TensorDictBase], observation: spaces.Space, action: spaces.Space, environment: str
) -> Iterator[TensorDictBase]:
    """Yield episodes, after a check that the environment could have recorded them.

    Executed actions beyond the environment's bounds are clipped, as the environment would do, and a warning says so.
    The actions of the robot and of the human stay as they are.

    Args:
        episodes: Episodes, each `[steps]`.
        observation: Space of the environment's observations.
        action: Space of the environment's actions.
        environment: Name of the environment.

    Raises:
        ValueError: Observations or actions are of another kind or width, or a discrete action is not in the space.
        TransitionError: The steps of an episode are malformed.
    """
    if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
        raise ValueError(f"'{environment}' has no vectors of numbers as observations but {observation}")
    if not isinstance(action, spaces.Discrete | spaces.Box):
        raise ValueError(f"'{environment}' has neither discrete (Discrete) nor continuous (Box) actions but {action}")

    clipped, count, excess = 0, 0, 0.0
    for steps in episodes:
        with naming(f"episode {int(steps['episode'][0])}"):
            _check_kinds(steps, observation, action, environment)
            if isinstance(action, spaces.Discrete):
                _check_choices(steps, action, environment)
            else:
                beyond = _clip(steps, action)
                clipped += int((beyond > 0).sum())
                excess = max(excess, float(beyond.max()))
            check_transitions(steps)
        count += len(steps)
        yield steps

    if clipped:
        warnings.warn(
            f"{clipped} of {count} actions lie beyond the bounds of '{environment}', by up to {excess:.3g}: what was "
            "executed is clipped, as there, and what the human wanted is kept; are they in the same units?",
            stacklevel=2,
        )


def _clip(steps: TensorDictBase, action: spaces.Box) -> Tensor:
    """Clip the executed actions to a space's bounds; return how far each was beyond them, `[steps]`."""
    original = steps["executed_action"]
    low, high = torch.from_numpy(action.low).float(), torch.from_numpy(action.high).float()
    steps["executed_action"] = original.clamp(low, high)
    return (original - steps["executed_action"]).abs().amax(-1)


def _check_kinds(
    steps: TensorDictBase, observation: spaces.Box, action: spaces.Discrete | spaces.Box, environment: str
) -> None:
    """Refuse observations and actions of another kind or width than an environment's, and actions without a value."""
    # observations
    for key in ("observation", ("next", "observation")):
        if steps[key].shape[1:] != observation.shape:
            raise ValueError(
                f"observations must be {_kind(observation.shape)}, as '{environment}' has them, got "
                f"{_kind(steps[key].shape[1:])}"
            )

    # actions
    for key in ACTIONS:
        if steps[key].shape[1:] != action.shape or steps[key].is_floating_point() != isinstance(action, spaces.Box):
            raise ValueError(
                f"'{key}' must be {_kind(action.shape or ())}, as '{environment}' has them, got "
                f"{_kind(steps[key].shape[1:])}"
            )

    # values
    not_finite = (~steps["executed_action"].isfinite()).reshape(len(steps), -1).any(-1).nonzero()
    if len(not_finite):
        step = int(not_finite[0])
        value = steps["executed_action"][step].tolist()
        raise ValueError(f"'executed_action' must be finite, got {value} at step {step}")


def _kind(shape: tuple[int, ...]) -> str:
    """Return what entries of this shape are called in an error message."""
    return f"vectors of {' × '.join(map(str, shape))} numbers" if shape else "whole numbers (discrete)"


def _check_choices(steps: TensorDictBase, action: spaces.Discrete, environment: str) -> None:
    """Refuse discrete actions that an environment does not have."""
    low, high = int(action.start), int(action.start + action.n - 1)
    for key in ACTIONS:
        wrong = (steps[key] < low) | (steps[key] > high)
        if key == "human_action":
            wrong &= steps["intervened"]
        if wrong.any():
            step = int(wrong.nonzero()[0])
            choice = int(steps[key][step])
            raise ValueError(f"'{key}' must be {low} to {high}, as '{environment}' has it, got {choice} at step {step}")


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


def all_own(entries: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of `OWN` if all are there that every recording of ours has, and none otherwise.

    Other projects call something else "step" or "episode".
    """
    is_ours = set(OWN) - LATER.keys() <= entries.keys()
    return {key: entries[key] for key in OWN if key in entries} if is_ours else {}


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
