"""Observed pictures: memory and the cost of a batch of stacks, and what recording costs a simulator's frame rate."""

import tempfile
import time
from types import SimpleNamespace

import torch
from buffer import anonymous_gib
from learning import recorded_steps

from mile.collection import collect_episodes
from mile.datamodules import InterventionBuffer, InterventionDataModule
from mile.envs import make_env

FRAMES, EPISODE = 10**5, 1000  # steps
SIZE = 96, 96, 3
BATCHES = 50


def main() -> None:
    """Print a line for batches, and one for recording."""
    with tempfile.TemporaryDirectory() as folder:
        # record
        buffer = InterventionBuffer(f"{folder}/buffer", "benchmark")
        for number in range(FRAMES // EPISODE):
            steps = recorded_steps(EPISODE, number)
            steps["pixels"] = torch.randint(0, 256, (EPISODE, *SIZE), dtype=torch.uint8)
            steps["next", "pixels"] = steps["pixels"].roll(-1, 0)
            buffer.append(steps)
        del steps, buffer

        # read
        for shift in (0, 4):
            before = anonymous_gib()
            data = InterventionDataModule(
                f"{folder}/buffer", "benchmark", batch_size=256, batches_per_epoch=BATCHES, stack=4, shift=shift
            )
            module = SimpleNamespace(entries=("pixels", "intervened", "robot_action", "human_action"))
            data.trainer = SimpleNamespace(lightning_module=module, global_rank=0, world_size=1)  # pyright: ignore
            times, largest = [], 0.0
            for _ in range(5):
                begin = time.perf_counter()
                for batch in data.batches():
                    assert batch["pixels"].shape == (256, 4, *SIZE)
                times.append((time.perf_counter() - begin) / BATCHES * 1e3)
                largest = max(largest, anonymous_gib() - before)
            first, *later = times
            print(
                f"{FRAMES} pictures, shift {shift}: {sorted(later)[1]:.1f} ms a batch of 256 stacks of 4 (first epoch, "
                f"which checks them: {first:.1f}), {largest:.2f} GiB of resident memory beyond the map",
                flush=True,
            )

        # what recording costs
        env, rates = make_env("CarRacing-v3", stack=4, max_episode_steps=200), []
        for name in ("bare", "recorded"):
            buffer = InterventionBuffer(f"{folder}/{name}", env.name)
            begin = time.perf_counter()
            steps = collect_episodes(env, still, 3, seed=0, on_episode=buffer.append if name == "recorded" else None)
            rates.append(len(steps) / (time.perf_counter() - begin))
        print(f"recording has {rates[1] / rates[0]:.2f} of the frame rate without ({rates[1]:.0f} frames/s)")


def still(step):
    """Do nothing."""
    return step.set("action", torch.zeros(*step.batch_size, 3))


if __name__ == "__main__":
    main()
