"""Shared fixtures; shapes in signatures of the pure functions are checked while the tests run."""

import signal

import gymnasium as gym
import numpy as np
import pytest
from jaxtyping import install_import_hook

import tests.shapes  # noqa: F401

with install_import_hook(["mile.intervention", "mile.losses"], "tests.shapes.checked"):
    import mile.intervention
    import mile.losses  # noqa: F401

import torch

from mile.humans import Decision, Human
from mile.signals import STOPPING


class Counting(gym.Env):
    """Observes [length, step]; the reward is the executed action. Episode lengths are drawn from the seed."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}
    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, continuous: bool = False, shortest: int = 3, longest: int = 40, render_mode: str | None = None):
        box = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = box if continuous else gym.spaces.Discrete(5)
        self.bounds = shortest, longest
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.length, self.count = int(self.np_random.integers(*self.bounds)), 0
        return self.observe(), {}

    def step(self, action):
        self.count += 1
        over = self.count == self.length
        return self.observe(), float(np.sum(action)), over, False, {"success": over and self.length % 2 == 0}

    def observe(self):
        return np.array([self.length, self.count], np.float32)

    def render(self):
        return np.zeros((40, 60, 3), np.uint8)


gym.register("Counting-v0", Counting)
gym.register("CountingBox-v0", Counting, kwargs={"continuous": True})


class EveryThird(Human):
    """A human who takes over in every third step, with action 4 (or 0.5, 0.5)."""

    def __init__(self, continuous: bool = False) -> None:
        self.continuous = continuous

    def decide(self, observation, noise=None):
        intervened = observation[..., 1] % 3 == 2
        action = torch.full((*intervened.shape, 2), 0.5) if self.continuous else torch.full(intervened.shape, 4)
        return Decision(intervened, action, intervened.float() * 0.9)


@pytest.fixture
def every_third() -> EveryThird:
    return EveryThird()


def act_by_step(step):
    """A robot that acts by the parity of the step."""
    return step.set("action", (step["observation"][..., 1] % 2).long())


@pytest.fixture
def as_a_program(monkeypatch):
    """An entry point is called in this process: what it does to signals and variables ends with the test."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
