"""The description of a recording as a page that a browser shows without anything else."""

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from tensordict import TensorDictBase

from mile.recordings.description import Group, Predictability, episode_numbers, numbers, takeover_lengths
from mile.transitions import onsets

COLUMNS = {  # of the table: attribute of a group, and its title
    "person": "person",
    "round": "round",
    "episodes": "episodes",
    "steps": "steps",
    "success": "success",
    "ratio": "ν=1",
    "takeovers": "takeovers an episode",
    "takeover_steps": "length, median steps",
    "first_onset": "first onset, median step",
    "seconds": "in control, s",
}
SHARES = ("success", "ratio")
WORDS = {  # of the second table
    "person": "person",
    "auc": "AUC of ν from the state",
    "auc_of_before": "AUC of ν from ν before",
    "switches": "steps in which ν changes",
    "delay": "delay, steps",
}
MAX_EPISODES = 60  # rows of the drawing of all episodes, for each person
ROLES = ListedColormap(["white", "#9db4c8", "#d1495b"])  # over, robot, human
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{padding:.2rem .7rem;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"""


def page(recordings: Mapping[str, TensorDictBase], groups: Sequence[Group], foreseen: Sequence[Predictability]) -> str:
    """Return the page, as HTML.

    Args:
        recordings: Steps of each person's recording, `[steps]`, by their name.
        groups: Groups of all of them.
        foreseen: How predictable each person is.
    """
    plain = numbers(groups, foreseen)
    picture = io.StringIO()
    figure(recordings, foreseen).savefig(picture, format="svg")
    svg = picture.getvalue()
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width'>",
            f"<title>Interventions</title><style>{STYLE}</style>",
            "<h1>Interventions</h1>",
            _table(plain["groups"], COLUMNS),
            svg[svg.index("<svg") :],
            "<h2>How well can they be foreseen?</h2>",
            _table(plain["predictability"], WORDS),
            "<p>ν of each half of the episodes is predicted from the other half: by a network that sees the state, and "
            "from ν one step before. 0.5 is chance. A person who reacts late takes over because of what they saw some "
            "steps before: the delay is how many steps before an onset the state foretells it best.</p></html>",
        ]
    )


def figure(recordings: Mapping[str, TensorDictBase], foreseen: Sequence[Predictability]) -> Figure:
    """Draw who acted in each episode, the takeovers' lengths and onsets, and what foretells these.

    Args:
        recordings: Steps of each person's recording, `[steps]`, by their name.
        foreseen: How predictable each person is.
    """
    drawing = Figure(figsize=(10, 7), layout="constrained")
    (episodes, lengths), (starts, lags) = drawing.subplots(2, 2)

    # who acted
    rows = np.concatenate([_roles(steps) for steps in _same_width(recordings)])
    episodes.imshow(rows, aspect="auto", interpolation="nearest", cmap=ROLES, vmin=0, vmax=2)
    episodes.set(title="who acted: robot (blue), human (red)", xlabel="step", ylabel="episode")

    # how long, and when
    for name, steps in recordings.items():
        lengths.hist(takeover_lengths(steps).numpy(), bins=20, histtype="step", label=name)
        begins = onsets(steps["intervened"], steps["step"])
        starts.hist(steps["step"][begins].numpy(), bins=20, histtype="step", label=name)
    lengths.set(title="length of takeovers", xlabel="steps", ylabel="takeovers")
    starts.set(title="when takeovers begin", xlabel="step of the episode", ylabel="takeovers")
    if len(recordings) > 1:
        lengths.legend()

    # what foretells them
    for person in foreseen:
        lags.plot(list(person.onset_auc), list(person.onset_auc.values()), marker="o", label=person.person)
    lags.axhline(0.5, color="0.7", linewidth=1)
    lags.set(title="onsets from an earlier state", xlabel="steps before", ylabel="AUC, held-out episodes")
    return drawing


def _same_width(recordings: Mapping[str, TensorDictBase]) -> list[tuple[TensorDictBase, int]]:
    """Return the recordings, each with the length of the longest episode of all."""
    longest = max(int(steps["step"].max()) + 1 for steps in recordings.values())
    return [(steps, longest) for steps in recordings.values()]


def _roles(recording: tuple[TensorDictBase, int]) -> np.ndarray:
    """Return who acted, `[episodes, longest]`: 0 nobody any more, 1 the robot, 2 the human."""
    steps, longest = recording
    episode = episode_numbers(steps)
    drawn = episode < MAX_EPISODES
    roles = torch.zeros(int(episode[drawn].max()) + 1, longest)
    roles[episode[drawn], steps["step"][drawn]] = 1.0 + steps["intervened"][drawn].float()
    return roles.numpy()


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Return rows as a table in HTML."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in columns.values())
    lines = [f"<table><tr>{head}</tr>"]
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell(name, row[name]))}</td>" for name in columns)
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


def cell(name: str, value: Any) -> str:
    """Return what a table shows of a value; a dash where it is not known."""
    if value is None:
        return "–"
    if name in SHARES:
        return f"{value:.0%}" if name == "success" else f"{value:.1%}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
