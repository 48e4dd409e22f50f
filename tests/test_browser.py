"""A person at the browser console: real Chromium, a real run in a process of its own."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mile.datamodules import InterventionBuffer
from mile.transitions import NO_ACTION

ROOT = Path(__file__).parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@contextmanager
def running(folder, *overrides):
    """A run that waits for a person, and the address to open."""
    command = [sys.executable, ROOT / "src" / "train.py", "experiment=lunarlander", "human=browser", "human.port=0"]
    command += ["debug=smoke", "callbacks.deployment.episodes_per_round=2", f"hydra.run.dir={folder}", *overrides]
    with (folder.parent / "log.txt").open("w+") as log:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy"}
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process, wait_for(lambda: address(Path(log.name)), 120)
        finally:
            process.kill()
            process.wait()


def address(log):
    found = re.search(r"Open (http://\S+)", log.read_text())
    return found and found[1]


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return value


class Page:
    """The page in Chromium, with everything the run told it."""

    def __init__(self, browser, url):
        self.news = []
        self.page = browser.new_page()
        self.page.on("websocket", lambda socket: socket.on("framereceived", self.hear))
        self.page.goto(url)

    def hear(self, payload):
        if isinstance(payload, str):
            self.news.append(json.loads(payload))

    def until(self, condition, seconds=60.0):
        """Let the page live until the newest status is like this."""
        end = time.monotonic() + seconds
        while not (self.news and condition(self.news[-1])):
            assert time.monotonic() < end, self.news[-1:]
            self.page.wait_for_timeout(5)
        return self.news[-1]

    def play(self, place, *commands):
        """Start an episode; press and release keys at given steps, then a key that ends it."""
        self.until(lambda it: it["phase"] == "waiting" and (it["round"], it["episode"]) == place)
        self.page.keyboard.press("Enter")
        for step, act, key in commands:
            self.until(lambda it, step=step: it["phase"] == "playing" and it["step"] >= step)
            getattr(self.page.keyboard, act)(key)


@needs_chromium
def test_a_person_takes_over_and_the_buffer_holds_exactly_that(tmp_path):
    from playwright.sync_api import sync_playwright

    with running(tmp_path / "run") as (process, url), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = Page(browser, url)
        page.play((1, 1), (10, "down", "ArrowUp"), (25, "up", "ArrowUp"), (35, "press", "KeyY"))
        page.play((1, 2), (8, "down", "ArrowLeft"), (9, "down", "ArrowUp"), (20, "up", "ArrowUp"), (30, "press", "KeyN"))
        page.page.keyboard.up("ArrowLeft")
        page.until(lambda it: it["phase"] == "learning")
        page.play((2, 1), (5, "press", "Backspace"))  # once more
        page.play((2, 1), (5, "press", "KeyP"))
        page.until(lambda it: it["phase"] == "paused")
        page.page.keyboard.press("Enter")
        page.until(lambda it: it["phase"] == "playing" and it["step"] >= 8)
        page.page.screenshot(path=tmp_path / "playing.png")
        page.page.keyboard.press("KeyY")
        page.play((2, 2), (5, "press", "KeyY"))
        page.until(lambda it: it["phase"] == "done")
        browser.close()
        assert process.wait(120) == 0, (tmp_path / "log.txt").read_text()

    steps = InterventionBuffer(tmp_path / "run" / "buffer", "lunarlander").steps
    told = {}  # what the page was told of each step, after it
    for it in page.news:
        if it["phase"] == "playing" and it["step"]:
            told[it["round"] - 1, it["episode"] - 1 + 2 * (it["round"] - 1), it["step"] - 1] = it
    seen = 0
    for row in range(len(steps)):
        where = tuple(int(steps[key][row]) for key in ("round", "episode", "step"))
        if where in told:
            seen += 1
            assert told[where]["person"] == bool(steps["intervened"][row]), where
    assert seen > 0.9 * len(steps) - 4  # all but what the network merged, and the last step of an episode
    first = steps[(steps["round"] == 0) & (steps["episode"] == 0)]
    ran = first["intervened"].nonzero().squeeze(-1)
    assert torch.equal(ran, torch.arange(int(ran[0]), int(ran[-1]) + 1))  # one takeover
    assert 10 <= ran[0] <= 14 and 25 <= ran[-1] + 1 <= 29
    assert (first["human_action"][ran] == 2).all() and (first["executed_action"][ran] == 2).all()
    assert (first["human_action"][~first["intervened"]] == NO_ACTION).all()
    assert first["next", "success"][-1] and first["next", "terminated"][-1]
    second = steps[(steps["round"] == 0) & (steps["episode"] == 1)]
    assert not second["next", "success"].any() and second["next", "terminated"][-1]
    assert set(second["human_action"][second["intervened"]].tolist()) == {1, 2}
    assert ((steps["intervention_prob"] > 0) & (steps["intervention_prob"] < 1)).all()  # the model's
