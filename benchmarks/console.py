"""From a key press to the executed action, over a real WebSocket on loopback; and what streaming costs in memory.

python benchmarks/console.py --minutes 2
"""

import argparse
import json
import os
import random
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from torchrl.envs import TransformedEnv
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env
from mile.humans import Person
from mile.humans.consoles.browser import Browser
from mile.humans.controls import keymap_for
from mile.policies import load_policy


class Noted(Person):
    """Notes when each step was made, and by whom."""

    def judge(self, executed_action):
        notes.append((time.monotonic(), self.takeover.in_control))
        return super().judge(executed_action)


def person(url, presses, over):
    """Start every episode; press a key now and then, for 0.2 s."""
    place = urlsplit(url)
    with connect(url.replace("http", "ws").replace("/?", "/ws?"), origin=f"http://{place.netloc}") as socket:
        held, change, due = False, time.monotonic() + 1, 0.0
        while not over.is_set():
            now = time.monotonic()
            if now >= change:
                held, change = not held, now + (0.2 if not held else random.uniform(0.2, 0.6))
                if held:
                    presses.append(now)
                due = now
            if now >= due:
                message = {"pressed": ["ArrowUp"] if held else []}
                if phase[0] in ("waiting", "away"):
                    message["command"] = "start"
                socket.send(json.dumps(message))
                due = now + 0.1
            try:
                news = socket.recv(timeout=max(0.0, min(due, change) - time.monotonic()))
                if isinstance(news, str):
                    phase[0] = json.loads(news)["phase"]
            except TimeoutError:
                pass
            except ConnectionClosed:
                return


def resident():
    """MB of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=20.0, help="Hz")
    given = parser.parse_args()
    notes, presses, phase, over = [], [], [""], threading.Event()
    console = Browser(port=0)
    env = make_env("lunarlander", render_mode="rgb_array")
    human = Noted(console, env.render, keymap_for("lunarlander", env.action_spec_unbatched), given.rate)
    supervised = TransformedEnv(env, InterventionTransform(human))
    threading.Thread(target=person, args=(console.url, presses, over), daemon=True).start()
    began, memory = time.monotonic(), []
    while time.monotonic() - began < 60 * given.minutes:
        collect_episodes(supervised, load_policy("lunarlander/initial"), 1, seed=len(memory))
        memory.append(resident())
    over.set()
    console.close()
    acted = np.array([then for then, by_person in notes if by_person])
    made = np.array([then for then, _ in notes])
    took = []
    for press in presses:
        at = np.searchsorted(acted, press)
        if at < len(acted) and acted[at] - press < 1 and np.searchsorted(made, press) > 0:
            took.append(1000 * (acted[at] - press))
    gaps = np.diff(made)
    print(f"{len(took)} presses: median {np.median(took):.0f} ms, 95 % {np.percentile(took, 95):.0f} ms")
    print(f"control: median period {1000 * np.median(gaps):.1f} ms, 95 % {1000 * np.percentile(gaps, 95):.1f} ms")
    print(f"memory after {len(memory)} episodes: {memory[0]:.0f} → {memory[-1]:.0f} MB (most {max(memory):.0f})")
