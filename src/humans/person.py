"""A person who oversees the robot in real time."""

import time
from collections.abc import Callable, Container, Iterator, Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDictBase
from torch import Tensor

from mile.humans.console import Command, Console
from mile.humans.controls import TAKE_OVER, Controls, Keymap
from mile.humans.corrections import Corrections, direction_to
from mile.humans.forms import is_valid
from mile.humans.human import Decision, DiscardedError, Human
from mile.humans.takeover import TakeOver
from mile.timing.online import OnlinePrediction
from mile.transitions import OF_CHUNKS

OF_ONE_ROBOT = ("success", "failure", "discard")  # commands that a fleet does not know
MAX_RENDER_SHARE = 0.5  # share of the time that is spent on pictures: a slow renderer must not slow the robot down


class Person(Human):
    """Oversees one robot through a console, at a fixed control rate.

    Of a fleet they see and control the robot that they attend; verdicts and discarding are for single robots. A gate's
    request is shown, and without one they cannot take over.

    Each step waits until it is due; the steps after a late one are not played faster to catch up. The person starts
    every episode, may pause it, end it as a success or a failure, or have it played again. While nobody is at the
    console, the robot waits.

    Args:
        console: Console that the person sits at.
        view: Function that returns a picture of the robot, `[height, width, 3]`.
        keymap: Keymap that turns the console's controls into actions.
        rate: Control rate, Hz.
        takeover: Way in which the person takes control.
        show_prediction: Show the person the probability that the model expects them to intervene with.
        corrections: What the person does to the robot: they take over, or their keys (or words) are directions that
            are added to what it does; the key that takes over is then a stop. See `mile.humans.corrections`.

    Attributes:
        in_keys: Entries of a step that the prediction is made from.
        predict: Function that returns the current model's p(ν=1|s), `[*batch]`, in a step; its values are recorded. An
            `OnlinePrediction` hears of every episode and step, too, and returns p(ν=1) given the steps before. None:
            there is no prediction.
        progress: Function that returns further entries of the status, such as the round.
        watching: Whether the person only watches and cannot take control.
        title: Title that the console shows instead of the round; None: the round is shown.

    Raises:
        ValueError: The rate is not above 0.
    """

    def __init__(
        self,
        console: Console,
        view: Callable[[], NDArray[np.uint8]],
        keymap: Keymap,
        rate: float = 20.0,
        takeover: TakeOver | None = None,
        show_prediction: bool = True,
        corrections: Corrections = "takeover",
    ) -> None:
        if not rate > 0:
            raise ValueError(f"the control rate must be above 0 Hz, got {rate}")
        self.console = console
        self.view = view
        self.keymap = keymap
        self.period = 1 / rate  # s
        self.takeover = takeover or TakeOver()
        self.show_prediction = show_prediction
        self.corrections = corrections

        # set by others
        self.predict: Callable[[TensorDictBase], Tensor] | OnlinePrediction | None = None
        self.progress: Callable[[], dict[str, Any]] = dict
        self.watching = False
        self.title: str | None = None

        # earlier movements of a tracked hand must not count after a pause or a takeover: each counts as a closed clutch
        self.clutch_restarts = 0
        self.begin()

    def begin(self, copies: Tensor | None = None) -> None:
        """Called before an episode's first observation: it waits until the person starts it.

        A fleet does not wait where the episodes of others go on.
        """
        if copies is not None and not copies.all():
            if self.robot is not None and copies[self.robot]:
                self.takeover.let_go()
            return
        self.waiting = True
        self.step = 0
        self.steps_in_control = 0
        self.verdict: bool | None = None
        self.last_action: Tensor | None = None
        self.robot: int | None = None
        self.has_fleet, self.attends = False, True
        self.asked_since: float | None = None  # s
        self.step_due = 0.0  # s
        self.picture_due = 0.0  # s
        self.takeover.reset()
        if isinstance(self.predict, OnlinePrediction):
            self.predict.begin()

    def decide(self, step: TensorDictBase) -> Decision:
        """Show the state, wait until the step is due, and read what the person does; see `Human.decide`.

        Raises:
            DiscardedError: The episode is to be played again.
            SystemExit: The person wants to stop.
        """
        # what the model expects
        prob = torch.full(step.batch_size, torch.nan)
        if self.predict is not None:
            prob = self.predict(step.select(*self.in_keys, *OF_CHUNKS, strict=False)).reshape(prob.shape)

        # which robot, and whether it asks for help
        intervened = torch.zeros(prob.shape, dtype=torch.bool)
        robot = self._attend(step)
        if robot is None:
            return Decision(intervened, self._action(Controls(), len(prob), self.keymap), prob)
        own_prob = float(prob[robot])

        # wait until the step is due
        if self.waiting:
            self._wait("waiting", own_prob)
            self.waiting = False
        self._show("playing", own_prob)
        self.step_due = max(self.step_due + self.period, time.monotonic())
        time.sleep(max(0.0, self.step_due - time.monotonic()))

        # commands
        self._obey_commands(own_prob)
        if not self.console.present():
            self._wait("away", own_prob)

        # controls
        controls = self.console.controls()
        intervened[robot] = self._update_control(controls)
        controls = controls._replace(clutch=controls.clutch + self.clutch_restarts)
        action = self._action(controls, len(prob), self.keymap)
        direction = None
        if self.corrections != "takeover":
            idle = self._action(Controls(), len(prob), copy(self.keymap))  # which forgets where a tracked hand was
            direction = direction_to(action, idle, self.corrections)
        return Decision(intervened, action, prob, direction)

    def _attend(self, step: TensorDictBase) -> int | None:
        """Return the number of the robot that is attended, and note since when it asks; None: none is."""
        if "attended" not in step.keys():
            self.robot = 0
            return 0

        attended = step["attended"].nonzero().flatten().tolist()
        self.attends, self.has_fleet = bool(attended), len(step) > 1
        robot = next(iter(attended), None) if self.has_fleet else 0
        if self.robot not in (None, robot):
            self.takeover.let_go()
        self.robot = robot

        since = self.asked_since or time.monotonic()
        self.asked_since = since if step["asked"].any() else None
        return robot

    def _action(self, controls: Controls, copies: int, keymap: Keymap) -> Tensor:
        """Return the action of the controls, the same for each copy."""
        last_action = None if self.last_action is None or self.robot is None else self.last_action[self.robot]
        action = keymap.action(controls, last_action)
        return action.expand(copies, *action.shape)

    def judge(self, executed_action: Tensor) -> bool | None:
        """Return the person's verdict; see `Human.judge`."""
        if isinstance(self.predict, OnlinePrediction):
            intervened = torch.zeros(len(executed_action), dtype=torch.bool)
            if self.robot is not None:
                intervened[self.robot] = self.takeover.in_control
            self.predict.observe(intervened, executed_action)
        self.last_action = executed_action
        self.step += 1
        self.steps_in_control += self.takeover.in_control
        return self.verdict

    def ask(self, form: Mapping[str, Any]) -> dict[str, int | str]:
        """Ask the person to fill in a form.

        Args:
            form: Form with a `title`, a `text` and `fields`, each with a `name`, a `label` and a `kind`: "choice" (of
                `options`), "scale" (from `low` to `high`, with `ends` in words) or "text" (which may stay empty).

        Returns:
            The answers by name of the field, all of them valid.

        Raises:
            SystemExit: The person wants to stop.
        """
        self.console.answers()  # forget those to a form before this one
        self.console.show({"phase": "form", "form": form})
        while True:
            self.heed_stop()
            answers = self.console.answers()
            if answers is not None and all(is_valid(field, answers.get(field["name"])) for field in form["fields"]):
                return {field["name"]: answers[field["name"]] for field in form["fields"]}
            time.sleep(0.02)

    def heed_stop(self) -> None:
        """Stop if the person gave that command, and forget all other commands so far.

        Raises:
            SystemExit: The person wants to stop.
        """
        for _ in self._commands():
            pass

    def decision(self, choices: Container[Command]) -> Command | None:
        """Return the first command since the last call that is one of these; None: there is none.

        Raises:
            SystemExit: The person wants to stop.
        """
        for command in self._commands():
            if command in choices:
                return command
        return None

    def _commands(self) -> Iterator[Command]:
        """Yield the commands since the last call; stop at "stop"."""
        for command in self.console.commands():
            if command == "stop":
                raise SystemExit("stopped by the person; to continue, run the same command with ckpt_path=last")
            if not self.has_fleet or command not in OF_ONE_ROBOT:
                yield command

    def _obey_commands(self, prob: float) -> None:
        """Pause, discard the episode or note a verdict, as the person commands."""
        for command in self._commands():
            if command == "pause":
                self._wait("paused", prob)
            elif command == "discard":
                raise DiscardedError
            elif command in ("success", "failure"):
                self.verdict = command == "success"

    def _update_control(self, controls: Controls) -> bool:
        """Return whether the person is in control in this step."""
        before = self.takeover.in_control
        in_control = self.takeover.update(controls.held(TAKE_OVER), self.keymap.deflection(controls))
        if self.watching or not self.attends:
            in_control = self.takeover.in_control = False
        if in_control and not before:
            self.clutch_restarts += 1
        return in_control

    def _show(self, phase: str, prob: float) -> None:
        """Show the status, and a new picture if there is time for one."""
        frame, began = None, time.monotonic()
        if phase != "playing" or began >= self.picture_due:
            frame = self.view()
            ended = time.monotonic()
            self.picture_due = ended + (ended - began) * (1 / MAX_RENDER_SHARE - 1)

        # status
        hidden = np.isnan(prob) or self.watching or not self.show_prediction
        status = {
            "phase": phase,
            "step": self.step,
            "person": self.takeover.in_control,
            "prob": None if hidden else round(prob, 3),
            "ratio": round(self.steps_in_control / max(1, self.step), 3),
            "legend": self.keymap.legend,
            "buttons": self.keymap.buttons,
            "asked": None if self.asked_since is None else round(time.monotonic() - self.asked_since, 1),
            "title": self.title,
            "watching": self.watching,
            "vocabulary": dict(self.keymap.words) if self.corrections == "words" else None,
            **self.progress(),
        }
        self.console.show(status, frame)

    def _wait(self, phase: str, prob: float) -> None:
        """Wait until the person starts or continues the episode."""
        self.heed_stop()
        self.clutch_restarts += 1
        self._show(phase, prob)
        while True:
            for command in self._commands():
                if command == "discard" and phase != "waiting":
                    raise DiscardedError
                if command == "start" and self.console.present():
                    # a button that is down already was not pressed to take over
                    self.takeover.reset(self.console.controls().held(TAKE_OVER))
                    return
            time.sleep(0.01)
