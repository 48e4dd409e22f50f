"""What simulators show, as entries of a step: vectors, and stacks of pictures."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mile.transitions import OF_CHUNKS, OF_CORRECTIONS, OF_EVERY_STEP, REPORTED

BRIGHTEST = 255
NOISE = ("robot_noise", "human_noise")
OUTCOME = ("action", "done", "next", "reward", "success", "terminated", "truncated")
RESERVED = {*OF_EVERY_STEP, *REPORTED, *OF_CHUNKS, *OF_CORRECTIONS, *NOISE, *OUTCOME} - {"state"}


class Observed:
    """What a simulator shows, as entries of a step.

    A vector becomes `observation`, a picture `pixels`, and a dictionary the entries of its own names. Numbers of any
    other kind become vectors, as Gymnasium flattens them. Of a picture there are the newest ones, oldest first, the
    first of an episode in place of those before it.

    Args:
        space: Observation space of the simulator.
        stack: Number of newest pictures in an entry.

    Attributes:
        spaces: Space of each entry, by name.

    Raises:
        ValueError: The space has no fixed size, an entry has the name of another one, or `stack` is below 1.
    """

    def __init__(self, space: gym.Space, stack: int = 1) -> None:
        if stack < 1:
            raise ValueError(f"stack (pictures) must be at least 1, got {stack}")
        self.parts = dict(_parts(space))
        self.spaces: dict[str, gym.spaces.Box] = {}
        self.newest: dict[str, deque[NDArray[np.uint8]]] = {}
        for name, part in self.parts.items():
            if name in RESERVED or not name.isidentifier():
                raise ValueError(f"an observation's entry cannot have the name '{name}'; rename it in the environment")
            if is_picture(part):
                self.newest[name] = deque(maxlen=stack)
                size = part.shape or ()
                shape = (stack, *size, 1) if len(size) == 2 else (stack, *size)
                self.spaces[name] = gym.spaces.Box(0, BRIGHTEST, shape, np.uint8)
            else:
                flat = gym.spaces.flatten_space(part)
                if not isinstance(flat, gym.spaces.Box):
                    raise ValueError(f"an observation of a fixed size is expected, got {part} as '{name}'")
                self.spaces[name] = gym.spaces.Box(-np.inf, np.inf, flat.shape, _number_type(flat.dtype))

    def begin(self, observation: Any) -> dict[str, NDArray[Any]]:
        """Return the entries of an episode's first observation."""
        for newest in self.newest.values():
            newest.clear()
        return self.entries(observation)

    def entries(self, observation: Any) -> dict[str, NDArray[Any]]:
        """Return the entries of the next observation."""
        values = {}
        for name, value in _values(self.parts, observation).items():
            if name not in self.newest:
                flat = gym.spaces.flatten(self.parts[name], value)
                values[name] = np.asarray(flat, self.spaces[name].dtype)
                continue
            newest = self.newest[name]
            missing = 1 if newest else self.spaces[name].shape[0]
            newest.extend([np.asarray(value)] * missing)
            values[name] = np.stack(newest).reshape(self.spaces[name].shape)
        return values

    def nothing(self) -> dict[str, NDArray[Any]]:
        """Return the entries before the first episode."""
        return {name: np.zeros(space.shape, space.dtype) for name, space in self.spaces.items()}


def is_picture(space: gym.Space) -> bool:
    """Return whether a space is that of pictures: `[height, width]` or `[height, width, channels]` bytes."""
    return isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) in (2, 3)


def _parts(space: gym.Space, name: str = "") -> Iterator[tuple[str, gym.Space]]:
    """Yield the parts of an observation space by name; those of a dictionary in it have both names."""
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, f"{name}_{key}" if name else str(key))
    else:
        yield name or ("pixels" if is_picture(space) else "observation"), space


def _values(parts: dict[str, gym.Space], observation: Any, name: str = "") -> dict[str, Any]:
    """Return the values of an observation by the names of its parts."""
    if name in parts or not isinstance(observation, dict):
        return {name or next(iter(parts)): observation}
    values = {}
    for key, value in observation.items():
        values |= _values(parts, value, f"{name}_{key}" if name else str(key))
    return values


def _number_type(dtype: Any) -> type[Any]:
    """Return the type of a vector's numbers: its own if it is that of fractions, otherwise float32."""
    return dtype.type if np.issubdtype(dtype, np.floating) else np.float32
