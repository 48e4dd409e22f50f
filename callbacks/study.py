"""Runs the user study of Sec. VII around an experiment with a person at a console."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from lightning import LightningModule, Trainer
from torchrl.envs import EnvBase

from mile.callbacks.rounds import RoundCallback, rounds_of
from mile.collection import collect_episodes
from mile.files import append_line, damaged, read_lines
from mile.humans import Person
from mile.humans.forms import check_form
from mile.policies import Policy

Form = Mapping[str, Any]  # title, text, and fields: what `Person.ask` takes
POLICIES = ("initial", "final")


class StudyCallback(RoundCallback):
    """Leads a participant through the study; each answer is on disk before the study continues.

    Before the first round the participant gives consent, practises in an episode that is not recorded, and watches the
    initial policy. After each round they watch the policy and rate it. At the end they rate the initial and the final
    policy without being told which is which, in an order that alternates with the participant's number; then they
    answer the survey.

    Args:
        person: Participant at a console.
        env: Environment with an `InterventionTransform` of the participant.
        initial: Initial policy.
        participant: Number of the participant, from 1; names are not recorded.
        path: Path of a file that gets one line of JSON for each answered form; forms in it are not asked again.
        consent: First form; unless `agree` is answered with "yes", the study ends.
        rating: Form about a policy that the participant has watched.
        survey: Forms at the end.
        num_watched: Number of episodes of the initial policy that the participant watches before the first round: those
            that its mental model is warm-started on.
        watched_seed: Seed of these episodes, which must differ from the deployment's.
        seed: Seed of all other episodes: number 0 for practice, r after round r, and a new one at the end.

    Raises:
        ValueError: The participant's number is below 1, or a form cannot be answered.
    """

    NEEDS: ClassVar = {"person": "person", "env": "supervised", "initial": "initial"}

    def __init__(
        self,
        person: Person,
        env: EnvBase,
        initial: Policy,
        *,
        participant: int,
        path: str | Path,
        consent: Form,
        rating: Form,
        survey: Sequence[Form],
        num_watched: int,
        watched_seed: int,
        seed: int,
    ) -> None:
        if participant < 1:
            raise ValueError(f"a participant is a number from 1, got {participant}")
        for form in (consent, rating, *survey):
            check_form(form)
        self.person, self.env, self.initial = person, env, initial
        self.path = Path(path)
        self.consent, self.rating, self.survey = consent, rating, survey
        self.num_watched, self.watched_seed, self.seed = num_watched, watched_seed, seed
        self.order = POLICIES if participant % 2 else POLICIES[::-1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for consent, let the person practise, and show the initial policy.

        Raises:
            SystemExit: The participant does not consent.
        """
        if "consent" not in self.answered():
            answers = self.person.ask(self.consent)
            if answers["agree"] != "yes":
                raise SystemExit("the participant did not consent; nothing was recorded")
            self.note("consent", answers)
        if "practice" not in self.answered():
            self.person.title = "Practice: take over and let go as often as you like; nothing is recorded"
            collect_episodes(self.env, self.initial, [0], seed=self.seed)
            self.person.title = None
            self.show(
                "This is the robot as it is now, episode", self.initial, range(self.num_watched), self.watched_seed
            )
            self.note("practice", {})

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, number: int) -> None:
        """Have the learnt policy rated."""
        count = number + 1
        policy = cast(Policy, pl_module.policy)
        self.rate(f"round {count}", "This is what the robot has learnt, episode", policy, count)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have both policies rated without their names, and ask the survey."""
        policies = {"initial": self.initial, "final": cast(Policy, pl_module.policy)}
        unseen = rounds_of(trainer).learnt(trainer.current_epoch) + 1
        for letter, name in zip("AB", self.order, strict=True):
            self.rate(name, f"Robot {letter}, episode", policies[name], unseen)
        for form in self.survey:
            self.ask(form["title"], form)

    def rate(self, name: str, title: str, policy: Policy, episode: int) -> None:
        """Show a policy in an episode, and have it rated."""
        if name not in self.answered():
            self.show(title, policy, [episode], self.seed)
            self.ask(name, {**self.rating, "title": title.removesuffix(", episode")})

    def show(self, title: str, policy: Policy, episodes: Sequence[int], seed: int) -> None:
        """Show episodes of a policy that acts alone."""
        for place, number in enumerate(episodes):
            self.person.title = f"{title} {place + 1} of {len(episodes)}"
            self.person.watching = True
            try:
                collect_episodes(self.env, policy, [number], seed=seed)
            finally:
                self.person.watching, self.person.title = False, None

    def ask(self, name: str, form: Form) -> dict[str, Any]:
        """Return the answers to a form, from the file if the form was asked before."""
        known = self.answered()
        if name not in known:
            known[name] = self.note(name, self.person.ask(form))
        return known[name]

    def answered(self) -> dict[str, dict[str, Any]]:
        """Return the answers so far, by name of the form."""
        return read_answers(self.path)

    def note(self, name: str, answers: dict[str, Any]) -> dict[str, Any]:
        """Write answers to disk, and return them."""
        append_line(self.path, {"form": name, "time": time.time(), "answers": answers})
        return answers


def read_answers(path: Path) -> dict[str, dict[str, Any]]:
    """Return a participant's answers, by form and field; none if there is no such file.

    Raises:
        ValueError: The file is damaged.
    """
    lines = read_lines(path)
    try:
        return {line["form"]: dict(line["answers"]) for line in lines}
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, repr(error)) from None
