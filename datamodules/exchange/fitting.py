"""Episodes from elsewhere, checked against the environment that is to have recorded them."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tensordict import TensorDictBase
from torch import Tensor

from mile.datamodules.exchange.foreign import ACTIONS, naming
from mile.envs.frames import compress
from mile.envs.observations import Observed
from mile.transitions import check_transitions, is_picture, observed, proposed


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
    wanted = Observed(observation).spaces
    if not isinstance(action, spaces.Discrete | spaces.Box):
        raise ValueError(f"'{environment}' has neither discrete (Discrete) nor continuous (Box) actions but {action}")

    # one after the other
    clipped, count, excess = 0, 0, 0.0
    left_out: set[str] = set()
    for steps in episodes:
        with naming(f"episode {int(steps['episode'][0])}"):
            left_out |= _keep(steps, wanted, environment)
            _check_kinds(steps, wanted, action, environment)
            if isinstance(action, spaces.Discrete):
                _check_choices(steps, action, environment)
            else:
                beyond = _clip(steps, action)
                clipped += int((beyond > 0).sum())
                excess = max(excess, float(beyond.max()))
            check_transitions(steps)
        count += len(steps)
        yield steps

    if left_out:
        warnings.warn(f"'{environment}' does not show {', '.join(sorted(left_out))}: left out", stacklevel=2)
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


def _keep(steps: TensorDictBase, wanted: dict[str, spaces.Box], environment: str) -> set[str]:
    """Drop what an environment does not show, in place, and return its names; refuse steps without what it shows.

    Where it shows no picture, the first one here becomes the `frame`, for people to look at.
    """
    names = set(observed(steps))
    if missing := sorted(wanted.keys() - names):
        raise ValueError(f"'{environment}' shows {', '.join(wanted)}, and these steps have no '{missing[0]}'")

    # a camera for people
    left_out = sorted(names - wanted.keys())
    cameras = [name for name in left_out if is_picture(steps[name])]
    if cameras and not any(is_picture(steps[name]) for name in wanted):
        left_out.remove(cameras[0])
        for key in ((), ("next",)):
            pictures: Any = steps[*key, cameras[0]]
            frames = np.stack([compress(picture) for picture in pictures.numpy()])
            steps[*key, "frame"] = torch.from_numpy(frames)

    for name in names - wanted.keys():
        del steps[name], steps["next", name]
    return set(left_out)


def _check_kinds(
    steps: TensorDictBase,
    wanted: dict[str, spaces.Box],
    action: spaces.Discrete | spaces.Box,
    environment: str,
) -> None:
    """Refuse observations and actions of another kind or width than an environment's, and actions without a value."""
    # observations
    for name, space in wanted.items():
        expected = space.shape[1:] if is_picture(steps[name]) else space.shape
        if steps[name].shape[1:] != expected:
            raise ValueError(
                f"observations must be {_kind(expected)}, as '{environment}' has them, got "
                f"{_kind(steps[name].shape[1:])} as '{name}'"
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
    if len(shape) == 3:
        return f"pictures of {' × '.join(map(str, shape))} bytes"
    return f"vectors of {' × '.join(map(str, shape))} numbers" if shape else "whole numbers (discrete)"


def _check_choices(steps: TensorDictBase, action: spaces.Discrete, environment: str) -> None:
    """Refuse discrete actions that an environment does not have."""
    low, high = int(action.start), int(action.start + action.n - 1)
    for key in ACTIONS:
        wrong = (steps[key] < low) | (steps[key] > high)
        if key == "human_action":
            wrong &= steps["intervened"]
        elif key == "robot_action":
            wrong &= proposed(steps)
        if wrong.any():
            step = int(wrong.nonzero()[0])
            choice = int(steps[key][step])
            raise ValueError(f"'{key}' must be {low} to {high}, as '{environment}' has it, got {choice} at step {step}")
