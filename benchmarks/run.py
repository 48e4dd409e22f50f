"""Speed as ratios within one run, because machines differ and are noisy: `make bench`."""

import gymnasium as gym
import numpy as np
import torch
from torch.utils.benchmark import Timer
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env
from mile.humans import SimulatedHuman
from mile.methods import MILE
from mile.policies import CategoricalPolicy, GaussianPolicy, load_policy

COPIES = 16
BATCH = 1024


def frames_per_second_bare() -> float:
    """Steps a second of Gymnasium's own vector environment with random actions."""
    envs = gym.vector.SyncVectorEnv([lambda: gym.make("LunarLander-v3")] * COPIES)
    envs.reset(seed=0)
    actions = iter(np.random.default_rng(0).integers(4, size=(100_000, COPIES)))
    timer = Timer("envs.step(next(actions))", globals={"envs": envs, "actions": actions})
    return COPIES / timer.blocked_autorange(min_run_time=3).median


def frames_per_second_supervised() -> float:
    """Steps a second of `collect_episodes` with the simulated human."""
    robot = load_policy("lunarlander/initial")
    human = SimulatedHuman(load_policy("lunarlander/expert"), load_policy("lunarlander/mental_model"), 15.0, 4.0)
    env = TransformedEnv(make_env("lunarlander", COPIES), InterventionTransform(human))
    steps = len(collect_episodes(env, robot, 2 * COPIES, seed=0))
    timer = Timer("collect_episodes(env, robot, n, seed=0)", globals=globals() | locals() | {"n": 2 * COPIES})
    return steps / timer.timeit(3).mean


def step_ratio(kind: type[CategoricalPolicy] | type[GaussianPolicy], hidden_dims: tuple[int, ...], dims: int) -> float:
    """Time of a MILE step over that of the same two networks under a trivial loss."""
    torch.manual_seed(0)
    observation = torch.randn(BATCH, 8 if kind is CategoricalPolicy else 156)
    networks = [kind(observation.shape[-1], dims, hidden_dims) for _ in range(2)]
    method = MILE(networks[0], networks[1], cost=5.0, scale=5.0)
    optimizer = method.configure_optimizers()
    intervened = torch.rand(BATCH) < 0.2
    action = torch.randint(dims, (BATCH,)) if kind is CategoricalPolicy else torch.randn(BATCH, dims)
    batch = {"observation": observation, "human_action": action, "intervened": intervened}

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def trivial() -> torch.Tensor:
        return sum(network.network(network.normalizer(observation)).square().mean() for network in networks)  # pyright: ignore

    names = {"step": step, "method": method, "batch": batch, "trivial": trivial}
    times = [
        Timer(statement, globals=names).blocked_autorange(min_run_time=3).median
        for statement in ("step(method.loss(batch).loss)", "step(trivial())")
    ]
    return times[0] / times[1]


def main() -> None:
    """Print one line a figure."""
    torch.set_num_threads(1)
    bare, supervised = frames_per_second_bare(), frames_per_second_supervised()
    print(
        f"LunarLander, {COPIES} copies, one core: bare {bare:.0f} frames/s, with the simulated human {supervised:.0f}"
    )
    print(f"  ratio {supervised / bare:.2f} (aim: 3000 frames/s or 0.25, whichever is less)")
    for name, ratio in (
        ("discrete, (64, 64), 4 actions", step_ratio(CategoricalPolicy, (64, 64), 4)),
        ("continuous, (256, 256), 4 dimensions", step_ratio(GaussianPolicy, (256, 256), 4)),
    ):
        print(f"MILE step / step under a trivial loss, batch {BATCH}, {name}: {ratio:.2f} (aim: at most 1.3)")


if __name__ == "__main__":
    main()
