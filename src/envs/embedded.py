"""Pictures as the vectors that a frozen network makes of them, once, when they are recorded."""

from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from mile.envs.observations import is_picture


class Embedding(Protocol):
    """A frozen network from a picture to a vector.

    Attributes:
        width: Length of the vector.
    """

    width: int

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector `[width]` of a picture `[height, width, 3]`."""
        ...


class Embedded(gym.ObservationWrapper):
    """Shows vectors in the place of pictures, under the same names in a dictionary.

    Args:
        env: Simulator that shows a picture, or a dictionary with some.
        embed: Frozen network.

    Raises:
        ValueError: The simulator shows no picture.
    """

    def __init__(self, env: gym.Env, embed: Embedding) -> None:
        super().__init__(env)
        self.embed = embed
        space, vector = env.observation_space, gym.spaces.Box(-np.inf, np.inf, (embed.width,), np.float32)
        if is_picture(space):
            self.observation_space = vector
            self.pictures: tuple[str, ...] | None = None
            return
        parts = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {}
        self.pictures = tuple(name for name, part in parts.items() if is_picture(part))
        if not self.pictures:
            raise ValueError(f"embed is for pictures, and there are none in {space}; leave it out")
        for name in self.pictures:
            parts[name] = vector
        self.observation_space = gym.spaces.Dict(parts)

    def observation(self, observation: Any) -> Any:
        """Return an observation with vectors in the place of its pictures."""
        if self.pictures is None:
            return self.embed(observation)
        return observation | {name: self.embed(observation[name]) for name in self.pictures}


def embedded(make: Callable[..., gym.Env], embed: Callable[[], Embedding]) -> Callable[..., gym.Env]:
    """Return a function that makes a simulator which shows vectors; all share one network, made here."""
    network = embed()

    def make_embedded(**options: Any) -> gym.Env:
        return Embedded(make(**options), network)

    return make_embedded
