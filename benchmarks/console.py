"""Time from a key press to the executed action, over a real WebSocket on loopback; and the memory that streaming costs.

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
from mile.humans.keymaps import keymap_for
from mile.policies import load_policy


class TimedPerson(Person):
    """Writes down when each step was made, and by whom."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.timed_steps = []  # time, whether the person was in control

    def judge(self, executed_action):
        self.timed_steps.append((time.monotonic(), self.takeover.in_control))
        return super().judge(executed_action)


class Typist:
    """Starts every episode at the browser's console, and presses a key now and then, for 0.2 s."""

    def __init__(self, url):
        self.url, self.phase = url, ""
        self.presses = []  # times
        self.leaving = threading.Event()

    def run(self):
        place = urlsplit(self.url)
        url = self.url.replace("http", "ws").replace("/?", "/ws?")
        with connect(url, origin=f"http://{place.netloc}") as socket:
            pressed, next_change, next_message = False, time.monotonic() + 1, 0.0
            while not self.leaving.is_set():
                # press or release
                now = time.monotonic()
                if now >= next_change:
                    pressed = not pressed
                    next_change = now + (0.2 if pressed else random.uniform(0.2, 0.6))
                    next_message = now
                    if pressed:
                        self.presses.append(now)

                # tell, and listen
                if now >= next_message:
                    self._send(socket, pressed)
                    next_message = now + 0.1
                try:
                    self._receive(socket, max(0.0, min(next_message, next_change) - time.monotonic()))
                except ConnectionClosed:
                    return

    def _send(self, socket, pressed):
        message = {"pressed": ["ArrowUp"] if pressed else []}
        if self.phase in ("waiting", "away"):
            message["command"] = "start"
        socket.send(json.dumps(message))

    def _receive(self, socket, timeout):
        try:
            news = socket.recv(timeout=timeout)
        except TimeoutError:
            return
        if isinstance(news, str):
            self.phase = json.loads(news)["phase"]


def resident():
    """MB of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def play(minutes, rate):
    """Play episodes with a person at the browser; return the times of steps and presses, and memory by episode."""
    console = Browser(port=0)
    env = make_env("lunarlander", render_mode="rgb_array")
    person = TimedPerson(console, env.render, keymap_for("lunarlander", env.action_spec_unbatched), rate)
    supervised = TransformedEnv(env, InterventionTransform(person))
    typist = Typist(console.url)
    threading.Thread(target=typist.run, daemon=True).start()

    began, memory = time.monotonic(), []
    while time.monotonic() - began < 60 * minutes:
        collect_episodes(supervised, load_policy("lunarlander/initial"), 1, seed=len(memory))
        memory.append(resident())
    typist.leaving.set()
    console.close()
    return person.timed_steps, typist.presses, memory


def delays(steps, presses):
    """Return the time from each press during an episode to the person's next action, ms."""
    all_times = np.array([step_time for step_time, _ in steps])
    times = np.array([step_time for step_time, by_person in steps if by_person])
    result = []
    for press in presses:
        after = np.searchsorted(times, press)
        if after < len(times) and times[after] - press < 1 and np.searchsorted(all_times, press) > 0:
            result.append(1000 * (times[after] - press))
    return result


def main():
    """Play, and print delays, periods and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=20.0, help="Hz")
    arguments = parser.parse_args()

    steps, presses, memory = play(arguments.minutes, arguments.rate)
    took = delays(steps, presses)
    gaps = np.diff([step_time for step_time, _ in steps])
    print(f"{len(took)} presses: median {np.median(took):.0f} ms, 95 % {np.percentile(took, 95):.0f} ms")
    print(f"control: median period {1000 * np.median(gaps):.1f} ms, 95 % {1000 * np.percentile(gaps, 95):.1f} ms")
    print(f"memory after {len(memory)} episodes: {memory[0]:.0f} → {memory[-1]:.0f} MB (most {max(memory):.0f})")


if __name__ == "__main__":
    main()
