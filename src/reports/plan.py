"""The runs of the paper's comparison (Fig. 3, 4 and 5) and of MILE's ablations, each with its command line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mile.running.command_line import override

TASKS = ("lunarlander", "button_press", "drawer_open", "peg_insert")
ITERATIVE = ("drawer_open", "peg_insert")
CLONING = ("bc_intervention", "hg_dagger", "iwr", "sirius")
SUPERVISED = ("mile", "mile_silence", *CLONING)  # so many gradient steps a round; RLIF takes some for each step played
ROUNDS = 5  # Table I: of a baseline, with as many episodes in all as MILE has; up to twice that to match interventions
ROUND_STEPS, RESTART_STEPS = 300, 600  # gradient steps a round in the iterative experiments; ours: 600 from the start
RLIF_UPDATES = 1  # of ten critics, for each of up to 10 000 steps of Meta-World; Table I has four
NEVER = 1_000_000_000  # epochs between evaluations on the way, where only the end counts

# What is changed in MILE, one thing at a time. The learner's part is learnt offline from plain MILE's own recording, …
LEARNERS = {
    "intervention_weight 0.1": "method.intervention_weight=0.1",
    "intervention_weight 0.9": "method.intervention_weight=0.9",
    "frozen mental model": "method.frozen_mental_model=true",
    "no warm start": "mental_model.steps=0",
    "scale x4": "learner_scale_ratio=4",
    "scale x0.25": "learner_scale_ratio=0.25",
    "cost x2": "learner_cost_ratio=2",
    "cost x0.5": "learner_cost_ratio=0.5",
}
# … the human's and the robot's changes what is recorded.
RECORDINGS = {
    "5 episodes": "callbacks.deployment.episodes_per_round=5",
    "30 episodes": "callbacks.deployment.episodes_per_round=30",
    "robot samples": "callbacks.deployment.deterministic=false",
    "noisy human": "human.calibrate.relative_scale=1.0",
}


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        name: of its folder.
        overrides: of the command line.
        needs: names of the jobs that must have finished before.
        minutes: it is expected to take on one core of an otherwise idle machine.
    """

    name: str
    overrides: tuple[str, ...]
    needs: tuple[str, ...] = ()
    minutes: float = 1.0


@dataclass(frozen=True)
class Plan:
    """How much of the paper is run, in `folder`; iterates over the jobs, what matters most first.

    Every run of a task takes calibration and reference lines from the task's first one. A baseline of Fig. 3 collects
    until it has MILE's interventions of the same seed.

    Attributes:
        folder: of the runs.
        tasks: of Fig. 3.
        iterative: tasks of Fig. 4.
        seeds: of training, the same for every method.
        epochs: of ten batches, in a single round; split over the rounds of a baseline.
        restarted: experiments where a round may also begin with the initial policy.
        rounds: N of the iterative experiments.
        demonstrations: of the ablation of Fig. 5.
        evaluation: episodes of the final table.
        rlif: tasks that RLIF is run on.
        ablated: tasks of MILE's own ablations.
    """

    folder: Path
    tasks: tuple[str, ...] = TASKS
    iterative: tuple[str, ...] = ITERATIVE
    restarted: tuple[str, ...] = (*TASKS, "drawer_open_iterative")
    seeds: tuple[int, ...] = (5, 6, 7, 8, 9)
    epochs: int = 150
    rounds: int = 20
    demonstrations: tuple[int, ...] = (5, 10, 15)
    evaluation: int = 100
    rlif: tuple[str, ...] = TASKS
    ablated: tuple[str, ...] = ("drawer_open", "peg_insert")

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs."""
        for seed in self.seeds:
            yield from (self.single(task, method, seed) for task in self.tasks for method in SUPERVISED)
        for seed in self.seeds:
            yield from (self.single(task, "rlif", seed) for task in self.rlif)
        for seed in self.seeds:
            yield from (self.in_rounds(task, method, seed) for task in self.iterative for method in SUPERVISED)
            yield from (self.in_rounds(task, "rlif", seed) for task in self.iterative if task in self.rlif)
        for seed in self.seeds:
            yield from (
                self.ablation(task, change, seed) for task in self.ablated for change in (*LEARNERS, *RECORDINGS)
            )
            yield from (self.offline(task, method, seed) for task in self.tasks for method in CLONING)
        helped = (*CLONING, "rlif") if "drawer_open" in self.rlif else CLONING
        for seed in self.seeds:
            for count in self.demonstrations:
                yield from (self.single("drawer_open", method, seed, demonstrations=count) for method in helped)
        for seed in self.seeds:
            yield from (
                self.single(task, method, seed, restart=True)
                for task in self.tasks
                if task in self.restarted
                for method in CLONING
            )
            yield from (
                self.in_rounds(task, method, seed, restart=True)
                for task in self.iterative
                if f"{task}_iterative" in self.restarted
                for method in SUPERVISED
            )

    def single(self, task: str, method: str, seed: int, restart: bool = False, demonstrations: int = 0) -> Job:
        """Return a run of Fig. 3 or 5."""
        if method.startswith("mile"):
            return self._job(task, method, seed, *self._once(task))
        matched = [
            "protocol=matched_interventions",
            override("callbacks.deployment.match", self.folder / self._mile(task, seed)),
            f"callbacks.deployment.episodes_per_round={1 if task == 'lunarlander' else 3}",
            f"callbacks.deployment.num_rounds={2 * ROUNDS}",
            f"data.restart={str(restart).lower()}",
            f"demonstrations={demonstrations}",
        ]
        label = "_restart" * restart + f"_{demonstrations}_demonstrations" * bool(demonstrations)
        updates = [f"callbacks.evaluation.every_n_epochs={NEVER}", *self._updates(task)]
        learning = updates if method == "rlif" else self._once(task, 1 if restart else ROUNDS)
        longer = 5.0 if method == "rlif" else 1.6 if restart else None  # a restart learns as long in each round
        minutes = None if task == "lunarlander" else longer
        needs = (self._mile(task, seed),)
        return self._job(task, method, seed, *learning, *matched, label=label, minutes=minutes, needs=needs)

    def offline(self, task: str, method: str, seed: int) -> Job:
        """Return a run that learns from MILE's recording."""
        options = [*self._once(task), *self._recording(task, seed)]
        return self._job(task, method, seed, *options, label="_same_data", needs=(self._mile(task, seed),))

    def ablation(self, task: str, change: str, seed: int) -> Job:
        """Return a run of MILE with one thing changed."""
        label = "_" + change.replace(" ", "_")
        offline = change in LEARNERS
        more = [LEARNERS[change], *self._recording(task, seed)] if offline else [RECORDINGS[change]]
        own = f"{task}/mile{label}/seed_{self.seeds[0]}" if change == "noisy human" else None  # who is calibrated anew
        options, needs = [*self._once(task), f"variant={change}", *more], (self._mile(task, seed),) * offline
        return self._job(task, "mile", seed, *options, label=label, like=own, needs=needs)

    def in_rounds(self, task: str, method: str, seed: int, restart: bool = False) -> Job:
        """Return a run of Fig. 4."""
        steps = 1 if method == "rlif" else RESTART_STEPS if restart else ROUND_STEPS
        more = [
            f"callbacks.deployment.num_rounds={self.rounds}",
            f"data.restart={str(restart).lower()}",
            f"callbacks.deployment.epochs_per_round={steps}",
            f"callbacks.evaluation.every_n_epochs={2 * steps}",
            "human.watch.num_episodes=10",
            "human.watch.steps=500",
        ]
        more += self._updates(task) if method == "rlif" else []
        minutes = (10 if method == "rlif" else 4 if restart else 2.5) * self.rounds / 20
        name = f"{task}_iterative"
        return self._job(name, method, seed, *more, label="_restart" * restart, minutes=minutes)

    def _job(
        self,
        experiment: str,
        method: str,
        seed: int,
        *more: str,
        label: str = "",
        like: str | None = None,
        minutes: float | None = None,
        needs: tuple[str, ...] = (),
    ) -> Job:
        task = experiment.removesuffix("_iterative")
        minutes = minutes or (0.3 if task == "lunarlander" else 0.65)
        name, like = f"{experiment}/{method}{label}/seed_{seed}", like or self._mile(task, self.seeds[0])
        overrides = [f"experiment={experiment}", f"method={method}", f"seed={seed}", "logger=null"]
        overrides += [f"evaluation.num_episodes={self.evaluation}", *more]
        if name != like:
            overrides, needs = [*overrides, override("like", self.folder / like)], (*needs, like)
        return Job(name, tuple(overrides), tuple(sorted(set(needs))), minutes)

    def _once(self, task: str, rounds: int = 1) -> list[str]:
        """Return the overrides for a single round's gradient steps, split over some rounds, without a look at them."""
        epochs = self.epochs * 2 // 15 if task == "lunarlander" else self.epochs
        return [
            f"callbacks.evaluation.every_n_epochs={NEVER}",
            f"callbacks.deployment.epochs_per_round={max(1, epochs // rounds)}",
            "data.batches_per_epoch=10",
        ]

    def _updates(self, task: str) -> list[str]:
        """Return the overrides for RLIF, whose gradient steps follow from the steps played."""
        return [] if task == "lunarlander" else [f"data.updates_per_step={RLIF_UPDATES}"]

    def _mile(self, task: str, seed: int) -> str:
        return f"{task}/mile/seed_{seed}"

    def _recording(self, task: str, seed: int) -> list[str]:
        return ["protocol=same_data", override("data.from", self.folder / self._mile(task, seed))]


def quick(folder: Path) -> Plan:
    """Return a small part of the plan."""
    return Plan(
        folder,
        tasks=("lunarlander", "drawer_open"),
        iterative=("drawer_open",),
        restarted=(),
        seeds=(5, 6),
        epochs=30,
        rounds=3,
        demonstrations=(5,),
        evaluation=20,
        rlif=("lunarlander",),
        ablated=(),
    )
