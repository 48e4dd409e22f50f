"""The user study of Sec. VII, around an experiment with a person at a console."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from torchrl.envs import EnvBase

from mile.collection import collect_episodes
from mile.files import append_line, read_lines
from mile.humans import Person
from mile.humans.person import check_form
from mile.policies import Policy

Form = Mapping[str, Any]  # title, text, and fields: what `Person.ask` takes
POLICIES = ("initial", "final")


class StudyCallback(Callback):
    """Leads a participant through the study; what they answer is on disk before the next thing happens.

    Before the first round: consent, a practice episode that is not recorded, and what the initial policy does. After
    each round: the policy at work, and a rating of it. At the end: the initial and the final policy, each rated without
    being named, in an order that alternates with the participant's number; then the survey.

    Args:
        person: the participant.
        env: with an `InterventionTransform` of theirs.
        initial: the policy that the study begins with.
        participant: number, from 1; no name.
        path: gets one line of JSON for each form that was answered; those in it are not asked again.
        consent: asked first; without "agree" the study ends.
        rating: of a policy that was shown.
        survey: forms at the end.
        every_n_epochs: as many as a round has.
        shown: episodes of the initial policy that are shown: those its mental model is warm-started on.
        shown_seed: of these; another one than the deployment's.
        seed: of all other episodes that are shown: number 0 for practice, r after round r, and a new one at the end.

    Raises:
        ValueError: the participant's number is below 1, or a form cannot be answered.
    """

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
        every_n_epochs: int,
        shown: int,
        shown_seed: int,
        seed: int,
    ) -> None:
        if participant < 1:
            raise ValueError(f"a participant is a number from 1, got {participant}")
        for form in (consent, rating, *survey):
            check_form(form)
        self.person, self.env, self.initial = person, env, initial
        self.path = Path(path)
        self.consent, self.rating, self.survey = consent, rating, survey
        self.every_n_epochs = every_n_epochs
        self.shown, self.shown_seed, self.seed = shown, shown_seed, seed
        self.order = POLICIES if participant % 2 else POLICIES[::-1]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ask for consent, let the person practise, and show the initial policy.

        Raises:
            SystemExit: there is no consent.
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
            self.show("This is the robot as it is now, episode", self.initial, range(self.shown), self.shown_seed)
            self.note("practice", {})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have the policy rated at the end of each round."""
        number, epoch = divmod(trainer.current_epoch + 1, self.every_n_epochs)
        if not epoch:
            policy = cast(Policy, pl_module.policy)
            self.rate(f"round {number}", "This is what the robot has learnt, episode", policy, number)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have both policies rated blind, and ask the survey."""
        policies = {"initial": self.initial, "final": cast(Policy, pl_module.policy)}
        unseen = trainer.current_epoch // self.every_n_epochs + 1
        for letter, name in zip("AB", self.order, strict=True):
            self.rate(name, f"Robot {letter}, episode", policies[name], unseen)
        for form in self.survey:
            self.ask(form["title"], form)

    def rate(self, name: str, title: str, policy: Policy, episode: int) -> None:
        """Show a policy at work in an episode, and have it rated."""
        if name not in self.answered():
            self.show(title, policy, [episode], self.seed)
            self.ask(name, {**self.rating, "title": title.removesuffix(", episode")})

    def show(self, title: str, policy: Policy, episodes: Sequence[int], seed: int) -> None:
        """Let a policy act alone under the person's eyes."""
        for place, number in enumerate(episodes):
            self.person.title = f"{title} {place + 1} of {len(episodes)}"
            self.person.watching = True
            try:
                collect_episodes(self.env, policy, [number], seed=seed)
            finally:
                self.person.watching, self.person.title = False, None

    def ask(self, name: str, form: Form) -> dict[str, Any]:
        """Return the answers to a form, from the file if it was asked before."""
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
        raise ValueError(f"'{path}' is damaged ({error!r}); restore it from a copy, or remove it") from None
