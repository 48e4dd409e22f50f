"""The README's picture, from finished runs.

python docs/results/draw_landing.py outputs/results/lunarlander docs/lunarlander.png
"""

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from mile.envs import make_env
from mile.policies import load_policy
from mile.recordings.video import record_video


def multiple_exposure(checkpoint: str | Path, seed: int = 1, every: int = 25) -> np.ndarray:
    """One landing in one picture: the brightest of every 25th frame, the sky being black."""
    frames = record_video(make_env("lunarlander", render_mode="rgb_array"), load_policy(checkpoint), seed)
    return frames[::every].max(0)


def main(runs: Path, picture: Path) -> None:
    """Draw a landing before, one after, and the returns of all seeds."""
    folders = sorted(path.parent for path in runs.glob("*/results.json"))
    results = [json.loads((folder / "results.json").read_text()) for folder in folders]
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained", width_ratios=[1, 1, 1.1])
    for axis, title, checkpoint in (
        (axes[0], "initial policy: hovers", "lunarlander/initial"),
        (axes[1], "after 5 episodes with a human: lands", folders[0] / "policy.safetensors"),
    ):
        axis.imshow(multiple_exposure(checkpoint)[:270])
        axis.set_title(title)
        axis.axis("off")
    for position, name in enumerate(results[0]):
        mean = np.array([result[name]["mean_return"] for result in results])
        half = np.array([result[name]["mean_return"] - result[name]["return_interval"][0] for result in results])
        spread = position + np.linspace(-0.3, 0.3, len(results))
        axes[2].errorbar(spread, mean, half, fmt="o", markersize=4, linewidth=1)
    axes[2].set_xticks(range(len(results[0])), [name.replace(" ", "\n", 1) for name in results[0]])
    axes[2].set_ylabel("mean return, 95 % interval")
    axes[2].set_title(f"{len(results)} training seeds, 100 episodes each")
    axes[2].grid(axis="y", alpha=0.3)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
