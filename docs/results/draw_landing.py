"""Draw the README's picture: two landings, and the returns of ten seeds from data/lunarlander.csv.

python docs/results/draw_landing.py outputs/results/lunarlander/seed_0/policy.safetensors docs/lunarlander.png
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mile.envs import make_env
from mile.policies import load_policy
from mile.recordings.video import record_video

TABLE = Path(__file__).parent / "data" / "lunarlander.csv"


def multiple_exposure(checkpoint: str | Path, seed: int = 1, every: int = 25) -> np.ndarray:
    """Return one landing in one picture: the brightest of every 25th frame, the sky being black."""
    frames = record_video(make_env("lunarlander", render_mode="rgb_array"), load_policy(checkpoint), seed)
    return frames[::every].max(0)


def draw_returns(axes: Axes) -> None:
    """Draw the return of each policy, of the learnt one by seed, with 95 % intervals."""
    returns: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            half_width = float(row["high"]) - float(row["return"])
            returns[row["policy"]].append((float(row["return"]), half_width))

    for place, values in enumerate(returns.values()):
        means, half_widths = zip(*values, strict=True)
        offsets = np.linspace(-0.3, 0.3, len(values)) if len(values) > 1 else np.zeros(1)
        axes.errorbar(place + offsets, means, half_widths, fmt="o", markersize=4, linewidth=1)
    axes.set_xticks(range(len(returns)), [policy.replace(" ", "\n", 1) for policy in returns])
    axes.set_ylabel("mean return, 95 % interval")
    axes.set_title("100 episodes each; ten training seeds")
    axes.grid(axis="y", alpha=0.3)


def main(learnt: Path, picture: Path) -> None:
    """Draw a landing before, one after, and the returns."""
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    before, after, returns = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    for axes, title, checkpoint in (
        (before, "initial policy: hovers", "lunarlander/initial"),
        (after, "after 5 episodes with a human: lands", learnt),
    ):
        axes.imshow(multiple_exposure(checkpoint)[:270])
        axes.set_title(title)
        axes.axis("off")
    draw_returns(returns)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
