"""Draw the figures of docs/results/ from the tables of single runs: python docs/results/draw.py [FOLDER]

FOLDER is where the figures go; by default the folder of this file. Figures 3, 4, 5 and that of the same data are drawn
by `mile-report runs docs/paper/runs.csv --output docs/paper`, and gains.png from docs/results/runs.csv.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mile.reports.figures import COLORS
from mile.reports.intervals import standard_error

HERE = Path(__file__).parent
RUNS = HERE.parent / "paper" / "runs.csv"
METHOD_COLORS = dict(COLORS)
METHODS = tuple(METHOD_COLORS)
CLONING = METHODS[2:6]
TASKS = {
    "lunarlander": "LunarLander",
    "button_press": "Button-Press",
    "drawer_open": "Drawer-Open",
    "peg_insert": "Peg-Insert",
    "drawer_open_iterative": "Drawer-Open\nin rounds",
    "peg_insert_iterative": "Peg-Insert\nin rounds",
}
STEPS_A_SECOND = 80  # of Meta-World
PERCENT = "success, %"
RETURN = "return, mean over episodes"
REFERENCES = {"initial policy": ("--", "0.5"), "with interventions": (":", "C1"), "expert (sampled)": ("-", "0.2")}
Groups = Mapping[str, Mapping[str, Sequence[float]]]  # runs by place on the axis and by series


@cache
def table(name: str) -> list[dict[str, str]]:
    """Return the rows of a table in docs/results/data, or of docs/paper/runs.csv."""
    path = RUNS if name == "runs" else HERE / "data" / f"{name}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def final_scores(experiment: str, method: str, variant: str = "") -> list[float]:
    """Return the scores of finished runs, by seed: returns, or success in %."""
    scores = []
    for row in table("runs"):
        finished = row["final"] == "True" and row["round"] != "0"
        if finished and (row["experiment"], row["method"], row["variant"]) == (experiment, method, variant):
            percent = 100 if row["metric"] == "success" else 1
            scores.append(percent * float(row["score"]))
    return scores


def columns(rows: Sequence[Mapping[str, str]], place: str, series: str, value: str) -> Groups:
    """Sort the rows of a table into groups."""
    groups: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row[place]][row[series]].append(float(row[value]))
    return groups


def dots(axes: Axes, groups: Groups, colors: Mapping[str, str]) -> None:
    """Draw each run as a dot and each mean ± standard error as a bar, one colour a series."""
    width = 0.8 / len(colors)
    for number, (series, color) in enumerate(colors.items()):
        label: str | None = series
        for place, group in enumerate(groups.values()):
            if series not in group:
                continue
            x = place + (number - (len(colors) - 1) / 2) * width
            scores = group[series]
            axes.bar(x, np.mean(scores), 0.9 * width, yerr=standard_error(scores), color=color, capsize=2, label=label)
            axes.scatter([x] * len(scores), scores, s=6, color="black", zorder=3, alpha=0.6)
            label = None
    axes.set_xticks(range(len(groups)), list(groups))
    axes.grid(axis="y", alpha=0.3)


def by_seed(axes: Axes, rows: Sequence[Mapping[str, str]], x: str, y: str) -> None:
    """Draw a line for each seed."""
    for seed in sorted({row["seed"] for row in rows}, key=int):
        points = [(float(row[x]), float(row[y])) for row in rows if row["seed"] == seed]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=f"seed {seed}")
    axes.grid(alpha=0.3)


def learnt_beside_references(name: str) -> Figure:
    """Draw a learnt policy's return by seed, 95 % intervals, and lines for what it is compared with."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    rows = table(name)
    learnt = [row for row in rows if row["policy"] == "learnt policy"]
    means = [float(row["return"]) for row in learnt]
    half_widths = [float(row["high"]) - float(row["return"]) for row in learnt]
    places = range(len(learnt))
    axes.errorbar(places, means, half_widths, fmt="o", capsize=3, label="learnt policy, 95 % interval")

    # what it is compared with
    for row in rows:
        if row["policy"] in REFERENCES:
            style, color = REFERENCES[row["policy"]]
            axes.axhline(float(row["return"]), color=color, linestyle=style, label=row["policy"])

    axes.set_xticks(places, [row["seed"] for row in learnt])
    axes.set(xlabel="training seed", ylabel="return, mean over 100 episodes")
    figure.legend(fontsize=7, loc="outside upper center", ncols=2)
    return figure


def what_undoes_it() -> Figure:
    """Draw returns by round and by epoch, a line for each seed."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    rows = table("what_undoes_it")
    settings = {"four rounds of 5 episodes": "round", "one round of 5 episodes": "epochs"}
    for axes, (setting, x) in zip(panels, settings.items(), strict=True):
        by_seed(axes, [row for row in rows if row["setting"] == setting], x, "return")
        axes.set(title=setting, xlabel=x)
        axes.set_xticks(sorted({int(row[x]) for row in rows if row["setting"] == setting}))
    panels[0].set_ylabel("return, mean over 100 episodes")
    panels[0].legend(fontsize=7)
    return figure


def meta_world() -> Figure:
    """Draw the five experiments: their ends, and success by round."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    ends, *panels = figure.subplots(1, 3, width_ratios=(1.8, 1, 1))
    titles = {experiment: TASKS[experiment] for experiment in tuple(TASKS)[1:]}
    rows = [{**row, "policy": "learnt policy"} for row in table("meta_world")]
    groups = columns(rows, "experiment", "policy", "success")
    dots(ends, {titles[name]: groups[name] for name in titles}, {"learnt policy": "lightskyblue"})
    ends.set(ylabel=PERCENT, ylim=(0, 104), title="100 episodes at the end")
    before_learning = {row["experiment"]: row for row in table("runs") if row["round"] == "0"}
    for place, name in enumerate(titles):
        for column, (policy, (style, color)) in zip(("score", "helped", "expert"), REFERENCES.items(), strict=True):
            level = 100 * float(before_learning[name][column])
            label = policy if place == 0 else None
            ends.hlines(level, place - 0.5, place + 0.5, color=color, linestyle=style, label=label)
    ends.tick_params(axis="x", labelsize=7)
    figure.legend(*ends.get_legend_handles_labels(), fontsize=8, loc="outside upper left", ncols=4)

    rounds = [row for row in table("meta_world_rounds") if row["round"].isdigit()]
    for axes, name in zip(panels, ("drawer_open_iterative", "peg_insert_iterative"), strict=True):
        by_seed(axes, [row for row in rounds if row["experiment"] == name], "round", "success")
        axes.set(title=TASKS[name].replace("\n", " "), xlabel="round", ylim=(-4, 104), ylabel=f"{PERCENT}, 20 episodes")
        axes.legend(fontsize=7)
    return figure


def learning_rates() -> Figure:
    """Draw the search over learning rates, mean of two seeds."""
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    panels = figure.subplots(2, 2).flat
    names = dict(zip(("mile", "bc_intervention", "hg_dagger", "iwr", "sirius"), ("MILE", *CLONING), strict=True))
    for axes, task in zip(panels, tuple(TASKS)[:4], strict=True):
        groups = columns([row for row in table("learning_rates") if row["task"] == task], "method", "rate", "score")
        for method, name in names.items():
            rates = [float(rate) for rate in groups[method]]
            means = [np.mean(scores) for scores in groups[method].values()]
            axes.plot(rates, means, marker="o", markersize=3, color=METHOD_COLORS[name], label=name)
        axes.set(xscale="log", xlabel="learning rate", title=TASKS[task], ylabel=PERCENT)
        axes.set_xticks([3e-5, 1e-4, 3e-4], ["3e-5", "1e-4", "3e-4"])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("return")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=5)
    return figure


def restart() -> Figure:
    """Draw runs whose policy is carried over beside those that begin anew in each round."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    *panels, unused = figure.subplots(2, 3).flat
    unused.axis("off")
    for axes, task in zip(panels, tuple(TASKS)[:5], strict=True):
        methods = ("MILE", *CLONING) if task.endswith("iterative") else CLONING
        groups = {}
        for method in methods:
            name = method.replace(" ", "\n")
            groups[name] = {"carried over": final_scores(task, method)}
            groups[name]["begun anew in each round"] = final_scores(task, method, "restart")
        dots(axes, groups, {"carried over": "C0", "begun anew in each round": "C1"})
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(TASKS[task].replace("\n", " "), fontsize=10)
        axes.set(ylabel=PERCENT, ylim=(0, 104))
    panels[0].set(ylabel=RETURN, ylim=(0, 250))
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=2)
    return figure


def full_batches() -> Figure:
    """Draw Peg-Insert's runs before and since full batches."""
    older = columns([{**row, "series": "before"} for row in table("full_batches")], "method", "series", "success")
    groups = {method: {**series, "since": final_scores("peg_insert", method)} for method, series in older.items()}
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    dots(axes, groups, {"before": "C0", "since": "C1"})
    axes.set_ylabel(PERCENT)
    figure.legend(fontsize=8, loc="outside upper center", ncols=2)
    return figure


def equal_steps() -> Figure:
    """Draw the runs whose rounds make MILE's number of gradient steps beside those of the plan."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    before = columns([{**row, "task": "peg_insert"} for row in table("full_batches")], "method", "task", "success")
    for axes, task in zip(panels, ("peg_insert", "button_press"), strict=True):
        rows = [{**row, "series": "1300 to 1600 steps"} for row in table("equal_steps") if row["task"] == task]
        groups: dict[str, dict[str, Sequence[float]]] = {}
        for method, series in columns(rows, "method", "series", "success").items():
            planned = before[method][task] if task in before[method] else final_scores(task, method)
            groups[method] = {"as planned": planned, **series}
        dots(axes, groups, {"as planned": "C0", "1300 to 1600 steps": "C1"})
        axes.tick_params(axis="x", labelsize=7)
        axes.set(title=TASKS[task], ylabel=PERCENT)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=2)
    return figure


def ablations() -> Figure:
    """Draw MILE with one thing changed, each run as a dot, beside plain MILE."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    older = [float(row["success"]) for row in table("full_batches") if row["method"] == "MILE"]
    plain = {"drawer_open": final_scores("drawer_open", "MILE"), "peg_insert": older}
    rows = [row for row in table("runs") if (row["experiment"], row["method"]) == ("drawer_open", "MILE")]
    changes = dict.fromkeys(row["variant"] for row in rows if row["variant"])
    names = ["plain MILE", *(change.removesuffix(", same data") for change in changes)]
    for axes, task in zip(panels, plain, strict=True):
        runs = [plain[task], *(final_scores(task, "MILE", change) for change in changes)]
        means = [np.mean(scores) for scores in runs]
        errors = [standard_error(scores) for scores in runs]
        places = range(len(runs))
        axes.errorbar(means, places, xerr=errors, fmt="o", capsize=3, color="C3", label="mean ± s.e.")
        for place, scores in enumerate(runs):
            label = "runs" if place == 0 else None
            axes.scatter(scores, [place] * len(scores), s=6, color="black", alpha=0.6, label=label)
        axes.axvline(means[0], color="0.3", linestyle="--", linewidth=1, label="plain MILE")
        axes.set(title=TASKS[task], xlabel=PERCENT, xlim=(0, 103))
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=3)
    return figure


def widowx() -> Figure:
    """Draw success by round on the simulated arm, mean of three seeds."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    names = {"mile": "MILE", "mile_silence": "MILE + silence", "hg_dagger": "HG-DAgger", "iwr": "IWR"}
    for method, name in names.items():
        rows = [row for row in table("widowx") if row["method"] == method]
        groups = columns(rows, "round", "method", "success")
        rounds = [label for label in groups if label.isdigit()]
        means = [np.mean(groups[label][method]) for label in rounds]
        errors = [standard_error(groups[label][method]) for label in rounds]
        color = METHOD_COLORS[name]
        axes.errorbar(range(7), means, errors, color=color, marker="o", markersize=3, label=name)
        axes.scatter(7, np.mean(groups["end"][method]), marker="*", s=80, color=color)
    axes.set_xticks(range(8), [*map(str, range(7)), "end"])
    axes.set(xlabel="round (10 episodes each), end (50 episodes)", ylabel=f"{PERCENT}, mean ± s.e. of 3 seeds")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def why() -> Figure:
    """Draw the methods' success from two humans with Table I's cost and scale, on the same data."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    own = {"MILE, scaled": "C3", "MILE, product": "salmon", "MILE, joint": "mistyrose"}
    colors = {**own, **{method: METHOD_COLORS[method] for method in CLONING}}
    titles = {"hesitant": "the released code's human", "Table I's": "the human of the paper's text"}
    for axes, (human, title) in zip(panels, titles.items(), strict=True):
        rows = [{**row, "task": TASKS[row["task"]]} for row in table("why") if row["human"] == human]
        dots(axes, columns(rows, "task", "method", "success"), colors)
        axes.set(title=title, ylim=(0, 104))
    panels[0].set_ylabel(PERCENT)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=7)
    return figure


def weight_of_j1() -> Figure:
    """Draw the success, and the distance from the expert where nobody intervened, by the weight of J1."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, column in zip(figure.subplots(1, 2), ("success", "expert_after"), strict=True):
        for number, task in enumerate(("drawer_open", "peg_insert")):
            rows = [row for row in table("weight_of_j1") if row["task"] == task and row["method"] == "mile"]
            groups: defaultdict[str, list[float]] = defaultdict(list)
            for row in rows:
                if row["variant"] == "as it is":
                    groups[row["weight"].split(" ")[0]].append(float(row[column]))
            means = [np.mean(values) for values in groups.values()]
            errors = [standard_error(values) for values in groups.values()]
            color, places = f"C{number}", range(len(groups))
            axes.errorbar(places, means, errors, marker="o", capsize=2, color=color, label=TASKS[task])
            axes.set_xticks(places, list(groups), fontsize=8)
            if column == "expert_after":
                before = np.mean([float(row["expert_before"]) for row in rows])
                axes.axhline(before, color=color, linestyle=":", label=f"{TASKS[task]}, before")
        axes.set(xlabel="weight λ of J1", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel(PERCENT)
    figure.axes[1].set_ylabel("‖μ − μ*‖ where nobody intervened")
    return figure


def humans() -> Figure:
    """Draw the mean score for each simulated human and method, with colours from bad to good."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    tasks = sorted({row["task"] for row in table("humans")})
    names = {
        "MILE + silence": "MILE +\nsilence",
        "MILE in time": "MILE\nin time",
        "MILE in time + silence": "in time +\nsilence",
        "MILE, scaled": "MILE,\nscaled",
        "BC intervention": "BC int.",
    }
    for axes, task in zip(figure.subplots(1, len(tasks)), tasks, strict=True):
        groups = columns([row for row in table("humans") if row["task"] == task], "human", "method", "score")
        methods = list(dict.fromkeys(method for group in groups.values() for method in group))
        means = np.full((len(groups), len(methods)), np.nan)
        for line, group in enumerate(groups.values()):
            for method, scores in group.items():
                means[line, methods.index(method)] = np.mean(scores)

        axes.imshow(means, cmap="RdYlGn", aspect="auto", vmin=0, vmax=250 if task == "lunarlander" else 100)
        for line, column in zip(*np.nonzero(~np.isnan(means)), strict=True):
            axes.text(column, line, f"{means[line, column]:.0f}", ha="center", va="center", fontsize=8)
        axes.set_xticks(range(len(methods)), [names.get(method, method) for method in methods], fontsize=7)
        axes.set_yticks(range(len(groups)), list(groups), fontsize=8)
        axes.set_title(f"{TASKS[task]}: {RETURN if task == 'lunarlander' else PERCENT}", fontsize=9)
    return figure


PREDICTIONS = {  # estimators of a figure, and their colours
    "as before": "0.6",
    "network": "C0",
    "network with history": "C9",
    "network with history, 100 updates": "C2",
    "memoryless, learnt": "tan",
    "own model, policies learnt": "salmon",
    "own model, learnt": "C3",
    "own model, given": "0.2",
}


def gates() -> Figure:
    """Draw the learnt policies of gates against the human steps and the requests that they took."""
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    colors = {"human": "0.3", "mile": "C3", "thrifty": "C0", "aim": "C1", "random": "C2", "always": "C4"}
    panels = figure.subplots(2, 2, sharey="row")
    for row, (task, score) in zip(panels, (("lunarlander", RETURN), ("drawer_open", PERCENT)), strict=True):
        for axes, cost in zip(row, ("human_steps", "requests"), strict=True):
            for gate, color in colors.items():
                runs = [run for run in table("gates") if (run["task"], run["gate"]) == (task, gate)]
                points = [(float(run[cost]), float(run["score"])) for run in runs]
                if points:
                    axes.plot(*zip(*points, strict=True), "o", color=color, label=gate, markersize=5, alpha=0.8)
            axes.set(title=TASKS[task], xlabel=f"{cost.replace('_', ' ')} after the first round")
            axes.grid(alpha=0.3)
        row[0].set_ylabel(f"learnt policy: {score}", fontsize=8)
    figure.legend(*panels[0][0].get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=6)
    return figure


def corrections() -> Figure:
    """Draw success after each round against the seconds of human effort, by kind of correction; one line a seed."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    colors = {"takeover": "C3", "nudge": "C0", "words": "C2", "stop": "0.5"}
    panels = figure.subplots(1, 2, sharey=True)
    for axes, task in zip(panels, ("drawer_open", "button_press"), strict=True):
        for row in table("corrections"):
            if row["task"] != task:
                continue
            steps = np.cumsum([int(row[f"human_steps_{number}"]) for number in range(1, 6)])
            success = [float(row[f"round_{number}"]) for number in range(1, 6)]
            label = row["corrections"] if row["seed"] == "5" else None
            axes.plot(steps / STEPS_A_SECOND, success, ".-", color=colors[row["corrections"]], label=label)
        axes.set(title=TASKS[task], xscale="log", xlabel="human effort, s")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(PERCENT)
    panels[1].legend(fontsize=8)
    return figure


def predicting() -> Figure:
    """Draw the log-likelihood of the next round's ν by estimator, for each person: online and free-running."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    people = list(dict.fromkeys((row["task"], row["person"]) for row in table("predicting")))
    for axes, (task, person) in zip(figure.subplots(1, len(people), sharey=True), people, strict=True):
        own = [row for row in table("predicting") if (row["task"], row["person"]) == (task, person)]
        for mode, offset, alpha in (("online", -0.2, 1.0), ("free-running", 0.2, 0.4)):
            for place, (estimator, color) in enumerate(PREDICTIONS.items()):
                by_seed: defaultdict[str, list[float]] = defaultdict(list)
                for row in own:
                    if (row["mode"], row["estimator"]) == (mode, estimator):
                        by_seed[row["seed"]].append(float(row["log_likelihood"]))
                means = [np.mean(values) for values in by_seed.values()]
                error = standard_error(means)
                axes.barh(place + offset, np.mean(means), 0.4, xerr=error, color=color, alpha=alpha, capsize=2)
        axes.set_title(f"{TASKS[task]}, {person}", fontsize=10)
        axes.set(xlim=(-1.2, 0), xlabel="log-likelihood per step")
        axes.set_yticks(range(len(PREDICTIONS)), list(PREDICTIONS), fontsize=8)
        axes.grid(axis="x", alpha=0.3)
    return figure


def main(folder: Path) -> None:
    """Draw all figures."""
    for name in ("lunarlander", "table_one"):
        learnt_beside_references(name).savefig(folder / f"{name}.png", dpi=120)
    comparison = restart, full_batches, equal_steps, ablations
    for draw in (
        *comparison,
        learning_rates,
        what_undoes_it,
        meta_world,
        widowx,
        why,
        weight_of_j1,
        humans,
        gates,
        corrections,
        predicting,
    ):
        draw().savefig(folder / f"{draw.__name__}.png", dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
