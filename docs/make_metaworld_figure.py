"""Draw docs/metaworld.png from the runs of docs/results.md: python docs/make_metaworld_figure.py"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

ROOT = Path("outputs/results")
BARS = ("button_press", "drawer_open", "peg_insert", "drawer_open_iterative", "peg_insert_iterative")
CURVES = BARS[3:]
POLICIES = ("initial policy", "with interventions", "learnt policy", "expert (sampled)")
COLOURS = ("0.75", "tab:orange", "tab:blue", "0.35")


def load(experiment: str, file: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(ROOT.glob(f"{experiment}/seed_*/{file}"))]


figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained", width_ratios=(2, 1, 1))
for offset, (policy, colour) in enumerate(zip(POLICIES, COLOURS, strict=True)):
    rates = [[run[policy]["success_rate"] for run in load(experiment, "results.json")] for experiment in BARS]
    x = np.arange(len(BARS)) + 0.2 * (offset - 1.5)
    axes[0].bar(x, [np.mean(rate) for rate in rates], 0.2, color=colour, label=policy)
    for at, rate in zip(x, rates, strict=True):
        axes[0].scatter([at] * len(rate), rate, s=8, color="black", zorder=3)
axes[0].set_xticks(range(len(BARS)), [name.replace("_", " ").replace(" iter", "\niter") for name in BARS], fontsize=8)
axes[0].set(ylabel="success", ylim=(0, 1.16), title="100 episodes; dots: training seeds")
axes[0].legend(fontsize=7, loc="upper center", ncols=4)
for panel, experiment in zip(axes[1:], CURVES, strict=True):
    references = load(experiment, "results.json")[0]
    for policy, colour in zip(POLICIES, COLOURS, strict=True):
        if policy != "learnt policy":
            panel.axhline(references[policy]["success_rate"], color=colour, linestyle="--", linewidth=1)
    curves = [[row["success_rate"] for row in run.values()] for run in load(experiment, "evaluation.json")]
    for curve in curves:
        panel.plot(range(1, len(curve) + 1), curve, color="tab:blue", alpha=0.3, linewidth=0.8)
    panel.plot(range(1, len(curves[0]) + 1), np.mean(curves, 0), color="tab:blue")
    panel.set(xlabel="round", ylim=(0, 1.02), title=experiment.replace("_", " "))
figure.savefig("docs/metaworld.png", dpi=130)
