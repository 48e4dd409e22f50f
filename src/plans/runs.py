"""The command lines of runs that are compared: one round, the same data, ablations, rounds."""

from dataclasses import dataclass
from pathlib import Path

from mile.running.command_line import override

TASKS = ("lunarlander", "button_press", "drawer_open", "peg_insert")
ITERATIVE = ("drawer_open", "peg_insert")
CLONING = ("bc_intervention", "hg_dagger", "iwr", "sirius")
SUPERVISED = ("mile", "mile_silence", *CLONING)  # so many gradient steps a round; RLIF takes some for each step played
OTHERS = ("ppl", "apo", "eil", "pvp", "haco", "residual", "advantage")  # learners that are not in the paper
ROUNDS = 5  # Table I: of a baseline, with as many episodes in all as MILE has; up to twice that to match interventions
ROUND_STEPS, RESTART_STEPS = 300, 600  # gradient steps a round in the iterative experiments; ours: 600 from the start
RLIF_UPDATES = 1  # of ten critics, for each of up to 10 000 steps of Meta-World; Table I has four
NEVER = 1_000_000_000  # epochs between evaluations on the way, where only the end counts
HARDWARE = {"widowx_peg": "hardware=simulated"}  # of tasks on a desk

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
    """One run, or one test bed that runs need.

    Attributes:
        name: Name of the folder.
        overrides: Overrides of the command line.
        needs: Names of the jobs that must have finished before.
        minutes: Expected duration on one core of an otherwise idle machine, min.
        module: Program.
        result: Name of the file that says that it has finished.
    """

    name: str
    overrides: tuple[str, ...]
    needs: tuple[str, ...] = ()
    minutes: float = 1.0
    module: str = "mile.train"
    result: str = "results.json"

    @property
    def program(self) -> str:
        """Name of the program: `mile-train`."""
        return "mile-" + self.module.rsplit(".", 1)[-1].replace("_", "-")


@dataclass(frozen=True)
class Runs:
    """How the runs of a plan are made.

    Attributes:
        folder: Folder of the runs.
        seeds: Seeds of training, the same for every method.
        epochs: Number of epochs of ten batches in a single round; split over the rounds of a baseline.
        rounds: Number of rounds N of the iterative experiments.
        evaluation: Number of episodes of the final table.
        own_beds: Whether each seed has a test bed of its own; otherwise all have the policies that ship.
    """

    folder: Path
    seeds: tuple[int, ...] = (5, 6, 7, 8, 9)
    epochs: int = 150
    rounds: int = 20
    evaluation: int = 100
    own_beds: bool = False

    def bed(self, task: str, seed: int) -> Job:
        """Return the test bed of a seed."""
        overrides = [f"task={task}", f"number={seed}", override("output", self.folder / "test_beds" / task)]
        if task in HARDWARE:
            overrides.append(f"options=['{HARDWARE[task]}']")
        minutes = 3.0 if task == "lunarlander" else 5.0
        return Job(self._bed(task, seed), tuple(overrides), (), minutes, "mile.commands.test_bed", "test_bed.json")

    def single(self, task: str, method: str, seed: int, restart: bool = False, demonstrations: int = 0) -> Job:
        """Return a run of Fig. 3 or 5."""
        if method.startswith("mile"):
            return self._job(task, method, seed, *self._once(task))

        # how it learns, and for how long
        if method == "rlif":
            learning, minutes = [f"callbacks.evaluation.every_n_epochs={NEVER}", *self._updates(task)], 5.0
        elif restart:  # as long in each round as otherwise in all
            learning, minutes = self._once(task), 1.6
        else:
            learning, minutes = self._once(task, ROUNDS), None
        if task == "lunarlander":
            minutes = None

        # in rounds of its own, until it has as many interventions as MILE
        mile = self._mile(task, seed)
        matched = [
            "protocol=matched_interventions",
            override("callbacks.deployment.match", self.folder / mile),
            f"callbacks.deployment.episodes_per_round={1 if task == 'lunarlander' else 3}",
            f"callbacks.deployment.num_rounds={2 * ROUNDS}",
            f"data.restart={str(restart).lower()}",
            f"demonstrations={demonstrations}",
        ]
        label = "_restart" if restart else ""
        if demonstrations:
            label += f"_{demonstrations}_demonstrations"
        return self._job(task, method, seed, *learning, *matched, label=label, minutes=minutes, needs=(mile,))

    def offline(self, task: str, method: str, seed: int, *changes: str, label: str = "") -> Job:
        """Return a run that learns from MILE's recording, with some changes to the method."""
        options = [*self._once(task), *self._recording(task, seed), *changes]
        if method == "rlif":  # as many gradient steps and rows a step as all others
            options += ["data.updates_per_step=1", "data.batch_size=256"]
        return self._job(task, method, seed, *options, label=f"{label}_same_data", needs=(self._mile(task, seed),))

    def ablation(self, task: str, change: str, seed: int) -> Job:
        """Return a run of MILE with one thing changed."""
        label = "_" + change.replace(" ", "_")
        needs: tuple[str, ...] = ()
        if change in LEARNERS:
            changes, needs = [LEARNERS[change], *self._recording(task, seed)], (self._mile(task, seed),)
        else:
            changes = [RECORDINGS[change]]
        like = None
        if change == "noisy human":  # who is calibrated anew
            like = f"{task}/mile{label}/seed_{self._first(seed)}"
        options = [*self._once(task), f"variant={change}", *changes]
        return self._job(task, "mile", seed, *options, label=label, like=like, needs=needs)

    def in_rounds(self, task: str, method: str, seed: int, restart: bool = False) -> Job:
        """Return a run of Fig. 4."""
        steps, minutes = ROUND_STEPS, 2.5
        if method == "rlif":
            steps, minutes = 1, 10.0
        elif restart:
            steps, minutes = RESTART_STEPS, 4.0
        options = [
            f"callbacks.deployment.num_rounds={self.rounds}",
            f"data.restart={str(restart).lower()}",
            f"callbacks.deployment.epochs_per_round={steps}",
            f"callbacks.evaluation.every_n_epochs={2 * steps}",
            "human.watch.num_episodes=10",
            "human.watch.steps=500",
        ]
        if method == "rlif":
            options += self._updates(task)
        label = "_restart" if restart else ""
        minutes *= self.rounds / 20
        return self._job(f"{task}_iterative", method, seed, *options, label=label, minutes=minutes)

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
        """Return a job, with the calibration and reference lines of `like`, by default of the first run on its bed."""
        task = experiment.removesuffix("_iterative")
        minutes = minutes or (0.3 if task == "lunarlander" else 0.65)
        name = f"{experiment}/{method}{label}/seed_{seed}"
        overrides = [f"experiment={experiment}", f"method={method}", f"seed={seed}", "logger=none"]
        overrides += [f"evaluation.num_episodes={self.evaluation}", *more]
        if task in HARDWARE:
            overrides.append(HARDWARE[task])

        # what it shares with others
        like = like or self._mile(task, self._first(seed))
        if name != like:
            overrides, needs = [*overrides, override("like", self.folder / like)], (*needs, like)
        if self.own_beds:
            bed = self._bed(task, seed)
            overrides, needs = [*overrides, override("test_bed", self.folder / bed)], (*needs, bed)
        return Job(name, tuple(overrides), tuple(sorted(set(needs))), minutes)

    def _first(self, seed: int) -> int:
        """Return the seed of the run that calibrates the human of a seed."""
        return seed if self.own_beds else self.seeds[0]

    def _bed(self, task: str, seed: int) -> str:
        return f"test_beds/{task}/{seed}"

    def _once(self, task: str, rounds: int = 1) -> list[str]:
        """Return the overrides for a single round's gradient steps, split over some rounds, not evaluated between."""
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
