"""Shows a person what they have taught: the learnt policy beside the initial one, and its results in words."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, ClassVar, cast

import numpy as np
from lightning import LightningModule, Trainer
from numpy.typing import NDArray
from torchrl.envs import EnvBase

from mile.callbacks.deployment import DeploymentCallback
from mile.callbacks.evaluation import EvaluationCallback
from mile.callbacks.rounds import RoundCallback
from mile.envs.frames import jpeg, read_picture
from mile.evaluation import Evaluation
from mile.humans import Person
from mile.humans.console import Command
from mile.policies import Policy
from mile.recordings.video import film

RENDERING = 6.0  # s, in which the pictures of an attempt are to be drawn
PLAYING = 12.0  # s, in which both attempts are to be shown
SMOOTH = 25.0  # pictures a second
ALONE = 5.0  # s without anybody at the console after which the experiment goes on
TRIALS = 4  # attempts among which a typical one is looked for
CHOICES = ("start", "again", "another")
SHADE = 0.55  # of the picture of an attempt that is over, while the other one goes on


class ShowcaseCallback(RoundCallback):
    """Shows, after the learning of every round, the initial and the learnt policy in the same attempt, side by side.

    It is an attempt that ends as most of the learnt policy's do. The person may watch once more, and after the last
    round they may teach another one. Needs a `DeploymentCallback` among the trainer's callbacks; the words come from
    the `EvaluationCallback`, if it has evaluated the round.

    Args:
        person: Person who taught the robot.
        make_env: Function that makes an environment of one copy with `render_mode="rgb_array"`.
        initial: Initial policy.
        references: Evaluations to compare with, by name, of which "initial policy" is one.
        metric: Metric of the environment, "return" or "success".
        seed: Seed of the attempts; after every round they are others.
        at_desk: Whether there is a single robot, which cannot be in two attempts: nothing is shown.
    """

    NEEDS: ClassVar = {
        "person": "person",
        "make_env": "make_pictured_env",
        "initial": "initial",
        "references": "references",
        "metric": "metric",
        "at_desk": "at_desk",
    }

    def __init__(
        self,
        person: Person,
        make_env: Callable[[], EnvBase],
        initial: Policy,
        references: Mapping[str, Evaluation],
        metric: str,
        seed: int,
        at_desk: bool = False,
    ) -> None:
        self.person = person
        self.make_env = make_env
        self.initial = initial
        self.before = references["initial policy"]
        self.metric = metric
        self.seed = seed
        self.at_desk = at_desk

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Show both policies, until the person goes on; add a round if they want to teach another one.

        Raises:
            SystemExit: The person wants to stop.
        """
        if self.at_desk:
            return
        deployment = next(c for c in trainer.callbacks if isinstance(c, DeploymentCallback))  # pyright: ignore
        is_last = number + 1 == deployment.rounds.count
        may_add = is_last and deployment.episodes_per_round is not None and deployment.target is None
        self.person.console.show({"phase": "filming"})

        # both attempts
        evaluation = self._evaluation(trainer)
        seed, (learnt, after) = self._typical(cast(Policy, pl_module.policy), number, evaluation)
        first, before = self._film(self.initial, seed)

        status = {
            "phase": "showing",
            **self.person.progress(),
            "last": is_last,
            "more": may_add,
            "words": "" if evaluation is None else in_words(self.before, evaluation, self.metric),
            "captions": [f"before you taught it: {_outcome(before)}", f"what it has learnt: {_outcome(after)}"],
        }
        if self._present(side_by_side(first, learnt), status) == "another" and may_add:
            deployment.add_round(trainer)

    def _typical(
        self, policy: Policy, number: int, evaluation: Evaluation | None
    ) -> tuple[int, tuple[list[bytes], Evaluation]]:
        """Return the seed of an attempt that ends as most of the policy's do, with its pictures and its outcome.

        A few are tried; where none of them is typical, it is the last one.
        """
        seed = self.seed + TRIALS * number
        attempt = self._film(policy, seed)
        for later in range(seed + 1, seed + TRIALS):
            if evaluation is None or bool(attempt[1].successes[0]) == (evaluation.success_rate >= 0.5):
                break
            seed, attempt = later, self._film(policy, later)
        return seed, attempt

    def _film(self, policy: Policy, seed: int) -> tuple[list[bytes], Evaluation]:
        """Return the pictures of an attempt of a policy alone, as JPEG, and its outcome."""
        with closing(self.make_env()) as env:
            env.set_seed(self.seed)
            env.reset()
            began = time.monotonic()
            env.render()  # pyright: ignore
            cost = (time.monotonic() - began) * max(float(self.before.lengths.float().mean()), 1.0)
            every = max(1, math.ceil(cost / RENDERING))
            return film(env, policy, seed, every=every, keep=jpeg)

    def _evaluation(self, trainer: Trainer) -> Evaluation | None:
        """Return the evaluation of the learnt policy after this round, None if there is none."""
        epochs = trainer.current_epoch + 1
        for callback in trainer.callbacks:  # pyright: ignore
            if isinstance(callback, EvaluationCallback) and epochs in callback.evaluations:
                return callback.evaluations[epochs]
        return None

    def _present(self, frames: list[NDArray[np.uint8]], status: dict[str, Any]) -> Command:
        """Show pictures at their pace until the person has decided, or has left; return their decision."""
        period = max(1 / SMOOTH, min(PLAYING / len(frames), self.person.period))
        stride = max(1, math.ceil(len(frames) * period / PLAYING))
        pictures = [*frames[::stride], frames[-1]]
        began = last_seen = time.monotonic()
        drawn = -1
        while True:
            now = time.monotonic()
            place = min(int((now - began) / period), len(pictures) - 1)
            if place != drawn:
                self.person.console.show({**status, "over": place == len(pictures) - 1}, pictures[place])
                drawn = place

            # what the person wants
            command = self.person.decision(CHOICES)
            if command == "again":
                began, drawn = now, -1
            elif command is not None:
                return command
            last_seen = now if self.person.console.present() else last_seen
            if now - last_seen > ALONE:
                return "start"
            time.sleep(0.01)


def side_by_side(first: list[bytes], second: list[bytes]) -> list[NDArray[np.uint8]]:
    """Return the pictures of two attempts beside each other; the shorter one's last picture stays, and is dimmed.

    Args:
        first: Pictures of the attempt on the left, as JPEG.
        second: Pictures of the attempt on the right, of the same height.
    """
    frames = []
    for place in range(max(len(first), len(second))):
        halves = []
        for shots in (first, second):
            picture = read_picture(shots[min(place, len(shots) - 1)], "JPEG")
            halves.append(picture if place < len(shots) else (picture * SHADE).astype(np.uint8))
        frames.append(np.concatenate(halves, 1))
    return frames


def in_words(before: Evaluation, now: Evaluation, metric: str) -> str:
    """Return a sentence that compares what a policy does alone with what it did before."""
    tries = [(int(outcome.successes.sum()), len(outcome.successes)) for outcome in (now, before)]
    (solved, count), (solved_before, count_before) = tries
    words = (
        f"On its own, the robot now succeeds in {solved} of {count} attempts. "
        f"Before you taught it: {solved_before} of {count_before}."
    )
    if metric == "return":
        words += f" Mean return: {now.mean_return:.0f}, before {before.mean_return:.0f}."
    return words


def _outcome(outcome: Evaluation) -> str:
    return "succeeded" if outcome.successes[0] else "failed"
