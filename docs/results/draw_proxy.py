"""Draw bias and spread of the gradient of p(ν=1|s), exact heads and a bound: python docs/results/draw_proxy.py [FOLDER]

FOLDER is where the figure goes; by default the folder of this file.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
MARKERS = {
    "density, samples": ("C0", "o-"),
    "bound, own noise": ("C3", "s-"),
    "bound, common noise": ("C1", "^-"),
    "bound, common noise, 8 times": ("C4", "v-"),
}


def main(folder: Path) -> None:
    """Draw the figure into a folder."""
    rows: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    with (HERE / "data" / "proxy_likelihood.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["estimator"]].append((float(row["scores"] or 0), float(row["bias"]), float(row["spread"])))

    figure = Figure((9, 3.6), layout="constrained")
    for axes, place, name in zip(figure.subplots(1, 2), (1, 2), ("bias", "spread"), strict=True):
        for estimator, (color, style) in MARKERS.items():
            scores, values = [row[0] for row in rows[estimator]], [row[place] for row in rows[estimator]]
            axes.plot(scores, values, style, color=color, label=estimator, markersize=4)
        if name == "bias":
            axes.axhline(rows["mixture over points"][0][1], color="0.3", linestyle="--", label="mixture, 64 points")
            axes.legend(fontsize=8)
        axes.set(xscale="log", yscale="log", xlabel="scores: passes through the network", ylabel=f"{name} / length")
        axes.set_title(f"{name} of the gradient of p(ν=1)", fontsize=10)
    figure.savefig(folder / "proxy_likelihood.png", dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
