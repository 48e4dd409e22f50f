"""A person who oversees the robot in real time."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mile.humans.controls import TAKE_OVER, Controls, Keymap
from mile.humans.human import Decision, DiscardedError, Human
from mile.humans.takeover import TakeOver

Command = Literal["start", "success", "failure", "discard", "pause", "stop"]
RENDERED = 0.5  # of the time at most is spent on pictures: a slow renderer must not slow the robot down


class Console(Protocol):
    """Where a person sees the robot, and acts."""

    def show(self, status: dict[str, Any], frame: NDArray[np.uint8] | None = None) -> None:
        """Show what goes on, and a picture `[height, width, 3]` if there is a new one."""
        ...

    def controls(self) -> Controls:
        """Return what is pressed now, or was since the last call."""
        ...

    def commands(self) -> list[Command]:
        """Return what was commanded since the last call, oldest first."""
        ...

    def present(self) -> bool:
        """Return whether somebody is there."""
        ...

    def answers(self) -> dict[str, int | str] | None:
        """Return what was answered since the last call; None: nothing."""
        ...

    def close(self) -> None:
        """Let go of the person."""
        ...


class Person(Human):
    """Oversees one robot through a console, at a fixed control rate.

    Each step waits for its time; a late step makes no later one early. The person starts every episode, may pause it,
    end it as a success or a failure, or have it played again. While nobody is there, the robot waits.

    Args:
        console: where the person sits.
        view: returns a picture of the robot, `[height, width, 3]`.
        keymap: reads actions off the console's controls.
        rate: control rate, Hz.
        takeover: how control is taken.
        show_prediction: whether the person sees what the model expects of them.

    Attributes:
        predict: p(ν=1|s) `[*batch]` of the current model, for observations `[*batch, observation_dim]`; it is
            recorded. None: nothing predicts it.
        progress: returns more to be shown, such as the round.
        watching: whether control cannot be taken.
        title: shown instead of the round; None: the round is shown.

    Raises:
        ValueError: the rate is not above 0.
    """

    def __init__(
        self,
        console: Console,
        view: Callable[[], NDArray[np.uint8]],
        keymap: Keymap,
        rate: float = 20.0,
        takeover: TakeOver | None = None,
        show_prediction: bool = True,
    ) -> None:
        if not rate > 0:
            raise ValueError(f"the control rate must be above 0 Hz, got {rate}")
        self.console, self.view, self.keymap = console, view, keymap
        self.period = 1 / rate
        self.takeover = takeover or TakeOver()
        self.show_prediction = show_prediction
        self.predict: Callable[[Tensor], Tensor] | None = None
        self.progress: Callable[[], dict[str, Any]] = dict
        self.watching = False
        self.title: str | None = None
        self.anchors = 0  # how often what a tracked hand did so far has ceased to count
        self.begin()

    def begin(self) -> None:
        """Have the next episode wait for the person."""
        self.waiting = True
        self.step = self.acted = 0
        self.verdict: bool | None = None
        self.last: Tensor | None = None
        self.due = self.rendered = 0.0
        self.takeover.reset()

    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Show the state, wait until the step is due, and read what the person does; see `Human.decide`.

        One copy of an environment is overseen: the batch holds one observation.

        Raises:
            DiscardedError: the episode is to be played again.
            SystemExit: the person wants to stop.
        """
        prob = torch.full(observation.shape[:-1], torch.nan)
        if self.predict is not None:
            prob = self.predict(observation.float()).reshape(prob.shape)
        if self.waiting:
            self._wait("waiting", float(prob))
            self.waiting = False
        self._show("playing", float(prob))
        self.due = max(self.due + self.period, time.monotonic())
        time.sleep(max(0.0, self.due - time.monotonic()))
        for command in self._commands():
            if command == "pause":
                self._wait("paused", float(prob))
            elif command == "discard":
                raise DiscardedError
            elif command in ("success", "failure"):
                self.verdict = command == "success"
        if not self.console.present():
            self._wait("away", float(prob))
        controls = self.console.controls()
        before = self.takeover.in_control
        in_control = self.takeover.update(controls.held(TAKE_OVER), self.keymap.deflection(controls))
        if self.watching:
            in_control = self.takeover.in_control = False
        self.anchors += in_control and not before
        controls = controls._replace(clutch=controls.clutch + self.anchors)
        action = self.keymap.action(controls, None if self.last is None else self.last[0])
        return Decision(torch.tensor([in_control]), action.unsqueeze(0), prob)

    def judge(self, executed_action: Tensor) -> bool | None:
        """Return the person's verdict; see `Human.judge`."""
        self.last = executed_action
        self.step += 1
        self.acted += self.takeover.in_control
        return self.verdict

    def ask(self, form: Mapping[str, Any]) -> dict[str, int | str]:
        """Have the person fill in a form.

        Args:
            form: `title`, `text` and `fields`, each with a `name`, a `label` and a `kind`: "choice" (of `options`),
                "scale" (from `low` to `high`, with `ends` in words) or "text" (which may stay empty).

        Returns:
            The answers by name of the field, all of them valid.

        Raises:
            SystemExit: the person wants to stop.
        """
        self.console.answers()  # of a form before this one
        self.console.show({"phase": "form", "form": form})
        while True:
            self.heed_stop()
            answers = self.console.answers()
            if answers is not None and all(_valid(field, answers.get(field["name"])) for field in form["fields"]):
                return {field["name"]: answers[field["name"]] for field in form["fields"]}
            time.sleep(0.02)

    def heed_stop(self) -> None:
        """Stop if that was commanded, and forget all other commands so far.

        Raises:
            SystemExit: it was.
        """
        for _ in self._commands():
            pass

    def _commands(self) -> Iterator[Command]:
        for command in self.console.commands():
            if command == "stop":
                raise SystemExit("stopped by the person; the same command goes on with ckpt_path=last")
            yield command

    def _show(self, phase: str, prob: float) -> None:
        began, frame = time.monotonic(), None
        if phase != "playing" or began >= self.rendered:
            frame = self.view()
            ended = time.monotonic()
            self.rendered = ended + (ended - began) * (1 / RENDERED - 1)
        status = {
            "phase": phase,
            "step": self.step,
            "person": self.takeover.in_control,
            "prob": None if np.isnan(prob) or self.watching or not self.show_prediction else round(prob, 3),
            "ratio": round(self.acted / max(1, self.step), 3),
            "legend": self.keymap.legend,
            "buttons": self.keymap.buttons,
            "title": self.title,
            "watching": self.watching,
            **self.progress(),
        }
        self.console.show(status, frame)

    def _wait(self, phase: str, prob: float) -> None:
        """Wait until the person starts, or goes on."""
        self.heed_stop()
        self.anchors += 1
        self._show(phase, prob)
        while True:
            for command in self._commands():
                if command == "discard" and phase != "waiting":
                    raise DiscardedError
                if command == "start" and self.console.present():
                    self.takeover.reset(self.console.controls().held(TAKE_OVER))  # what is held now began before
                    return
            time.sleep(0.01)


def check_form(form: Mapping[str, Any]) -> None:
    """Refuse a form that nobody could answer.

    Raises:
        ValueError: a field is malformed.
    """
    for field in form["fields"]:
        kind, options = field["kind"], field.get("options", ())
        if kind not in ("choice", "scale", "text"):
            raise ValueError(f"'{field['name']}' must be a choice, scale or text, got '{kind}'")
        if kind == "choice" and not (options and all(isinstance(it, str) for it in options)):
            raise ValueError(f"the options of '{field['name']}' must be words (in quotes), got {list(options)}")
        if kind == "scale" and not field["low"] < field["high"]:
            raise ValueError(f"'{field['name']}' must go from low to high, got {field['low']} to {field['high']}")


def _valid(field: Mapping[str, Any], answer: int | str | None) -> bool:
    if field["kind"] == "scale":
        return isinstance(answer, int) and field["low"] <= answer <= field["high"]
    return isinstance(answer, str) and (field["kind"] == "text" or answer in field["options"])
