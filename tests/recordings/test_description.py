"""The description of a recording against counting by hand, and against humans whose delay is known."""

import itertools
import json
import math
import sys

import pytest
import torch
from tensordict import TensorDict

from mile.commands import data
from mile.datamodules import InterventionBuffer
from mile.recordings.description import describe, predictability
from mile.recordings.description_page import cell
from tests.support import episode

LENGTH = 80


def recording(delay, episodes=30, seed=0):
    """Steps in which a human takes over for three steps, `delay` steps after the state has exceeded 1.5.

    With `delay` None they take over at random.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number in range(episodes):
        state = torch.randn(LENGTH, 2, generator=generator)
        wanted = state[:, 0] > 1.5 if delay is not None else torch.rand(LENGTH, generator=generator) < 0.07
        intervened = torch.zeros(LENGTH, dtype=torch.bool)
        for step in range(LENGTH):
            late = step - (delay or 0)
            if late >= 0 and wanted[late]:
                intervened[step : step + 3] = True
        parts.append(
            TensorDict(
                {
                    "observation": state,
                    "intervened": intervened,
                    "attended": torch.ones(LENGTH, dtype=torch.bool),
                    "asked": torch.zeros(LENGTH, dtype=torch.bool),
                    "step": torch.arange(LENGTH),
                    "timestamp": 100.0 * number + 0.1 * torch.arange(LENGTH, dtype=torch.float64),
                    "round": torch.full([LENGTH], number % 2),
                    "episode": torch.full([LENGTH], number // 2),
                    "next": {
                        "reward": torch.zeros(LENGTH),
                        "success": torch.arange(LENGTH) == (LENGTH - 1 if number % 4 else LENGTH),
                    },
                },
                [LENGTH],
            )
        )
    return parts


def in_order(parts):
    return torch.cat(sorted(parts, key=lambda steps: int(steps["round"][0])))


def test_lengths_onsets_and_ratio_are_those_counted_by_hand():
    parts = recording(3)
    for group in describe("Ada", in_order(parts)):
        own = [steps for steps in parts if int(steps["round"][0]) == group.round - 1]
        lengths, firsts = [], []
        for steps in own:
            runs = [(acted, len(list(run))) for acted, run in itertools.groupby(steps["intervened"].tolist())]
            lengths += [length for acted, length in runs if acted]
            if steps["intervened"].any():
                firsts.append(steps["intervened"].tolist().index(True))
        assert (group.person, group.episodes, group.steps) == ("Ada", len(own), len(own) * LENGTH)
        assert group.takeovers == pytest.approx(len(lengths) / len(own))
        assert group.takeover_steps == torch.tensor(lengths).double().quantile(0.5)
        assert group.first_onset == torch.tensor(firsts).double().quantile(0.5)
        assert group.ratio == pytest.approx(sum(lengths) / group.steps)
        assert group.seconds == pytest.approx(0.1 * sum(lengths))


@pytest.mark.parametrize("delay", [0, 3, 8])
def test_a_delay_that_is_known_is_found(delay):
    foreseen = predictability("Ada", in_order(recording(delay)))
    assert foreseen.delay == delay
    assert foreseen.onset_auc[delay] > 0.95


def test_takeovers_at_random_cannot_be_foreseen():
    foreseen = predictability("Ada", in_order(recording(None)))
    assert all(abs(value - 0.5) < 0.1 for value in foreseen.onset_auc.values())


def test_who_never_took_over_has_no_delay():
    steps = in_order(recording(0, episodes=2))
    steps["intervened"] = torch.zeros_like(steps["intervened"])
    foreseen = predictability("Ada", steps)
    assert math.isnan(foreseen.auc)
    assert math.isnan(foreseen.delay)
    (group, _) = describe("Ada", steps)
    assert group.takeovers == 0
    assert math.isnan(group.takeover_steps)
    assert math.isnan(group.first_onset)


@pytest.mark.parametrize(
    ("name", "value", "expected"), [("ratio", 0.1234, "12.3%"), ("success", 0.5, "50%"), ("delay", None, "–")]
)
def test_cells_of_the_tables(name, value, expected):
    assert cell(name, value) == expected


def test_the_page_and_its_numbers(tmp_path, monkeypatch, capsys):
    for name in ("<Ada>", "Bob"):
        buffer = InterventionBuffer(tmp_path / name, "Counting-v0")
        for number in range(2):
            buffer.append(episode(number))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mile-data", "describe", "<Ada>", "Bob", "--output", "people.html"])
    data.main()
    printed = capsys.readouterr().out
    assert "person Bob · round 1 · episodes 2" in printed
    page = (tmp_path / "people.html").read_text(encoding="utf-8")
    assert "<td>&lt;Ada&gt;</td>" in page
    assert "<Ada>" not in page
    assert "<svg" in page
    numbers = json.loads((tmp_path / "people.json").read_text(encoding="utf-8"))
    assert [group["person"] for group in numbers["groups"]] == ["<Ada>", "Bob"]
    assert numbers["groups"][0]["ratio"] == 0.0
    assert numbers["predictability"][0]["delay"] is None
