"""The runs of the paper's comparison (Fig. 3, 4 and 5) and of MILE's ablations."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from mile.plans.runs import CLONING, ITERATIVE, LEARNERS, OTHERS, RECORDINGS, SUPERVISED, TASKS, Job, Runs


@dataclass(frozen=True)
class Paper(Runs):
    """The part of the paper that is run; iterates over the jobs, the most important first.

    Every run of a task takes calibration and reference lines from the task's first run. A baseline of Fig. 3 collects
    until it has as many interventions as MILE with the same seed.

    Attributes:
        tasks: Tasks of Fig. 3.
        iterative: Tasks of Fig. 4.
        restarted: Experiments where a round may also begin with the initial policy.
        demonstrations: Numbers of demonstrations in the ablation of Fig. 5.
        rlif: Tasks that RLIF is run on.
        ablated: Tasks of MILE's own ablations.
        others: Tasks of the learners that are not in the paper, and of BC intervention as one network.
    """

    tasks: tuple[str, ...] = TASKS
    iterative: tuple[str, ...] = ITERATIVE
    restarted: tuple[str, ...] = (*TASKS, "drawer_open_iterative")
    demonstrations: tuple[int, ...] = (5, 10, 15)
    rlif: tuple[str, ...] = TASKS
    ablated: tuple[str, ...] = ("drawer_open", "peg_insert")
    others: tuple[str, ...] = TASKS

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs."""
        yield from self._one_round()
        yield from self._iterative()
        yield from self._variations()
        yield from self._others()
        yield from self._with_demonstrations()
        yield from self._restarted()

    def _one_round(self) -> Iterator[Job]:
        """Yield the runs of Fig. 3, RLIF's last."""
        for seed, task, method in product(self.seeds, self.tasks, SUPERVISED):
            yield self.single(task, method, seed)
        for seed, task in product(self.seeds, self.rlif):
            yield self.single(task, "rlif", seed)

    def _iterative(self) -> Iterator[Job]:
        """Yield the runs of Fig. 4."""
        for seed in self.seeds:
            for task, method in product(self.iterative, SUPERVISED):
                yield self.in_rounds(task, method, seed)
            for task in self.iterative:
                if task in self.rlif:
                    yield self.in_rounds(task, "rlif", seed)

    def _variations(self) -> Iterator[Job]:
        """Yield MILE's own ablations, and all methods on the same data."""
        for seed in self.seeds:
            for task, change in product(self.ablated, (*LEARNERS, *RECORDINGS)):
                yield self.ablation(task, change, seed)
            for task, method in product(self.tasks, CLONING):
                yield self.offline(task, method, seed)

    def _others(self) -> Iterator[Job]:
        """Yield the runs of learners that are not in the paper: on the same data, and in rounds on Drawer-Open."""
        for seed, task in product(self.seeds, self.others):
            for method in OTHERS:
                yield self.offline(task, method, seed)
            yield self.offline(task, "bc_intervention", seed, "method.shared_trunk=true", label="_one_network")
        if "drawer_open" in self.others:
            for seed, method in product(self.seeds, OTHERS):
                yield self.in_rounds("drawer_open", method, seed)

    def _with_demonstrations(self) -> Iterator[Job]:
        """Yield the runs of Fig. 5."""
        methods = (*CLONING, "rlif") if "drawer_open" in self.rlif else CLONING
        for seed, count, method in product(self.seeds, self.demonstrations, methods):
            yield self.single("drawer_open", method, seed, demonstrations=count)

    def _restarted(self) -> Iterator[Job]:
        """Yield the runs in which every round begins with the initial policy."""
        for seed in self.seeds:
            for task, method in product(self.tasks, CLONING):
                if task in self.restarted:
                    yield self.single(task, method, seed, restart=True)
            for task, method in product(self.iterative, SUPERVISED):
                if f"{task}_iterative" in self.restarted:
                    yield self.in_rounds(task, method, seed, restart=True)


def quick(folder: Path) -> Paper:
    """Return a small part of the plan."""
    return Paper(
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
        others=("lunarlander",),
    )
