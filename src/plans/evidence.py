"""The comparison of all learners, with a test bed of its own for each seed (docs/results/protocol.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from mile.plans.runs import CLONING, ITERATIVE, OTHERS, TASKS, Job, Runs

IN_ROUNDS = ("mile", "mile_silence", *CLONING, "ppl", "advantage")
ESTIMATED = {"widowx_peg": 5.0, "car_racing": 17.0}  # min: the simulated arm, and driving from pictures
CRITICS = ("eil", "pvp", "haco", "rlif")


@dataclass(frozen=True)
class Evidence(Runs):
    """The runs of the comparison; iterates over the jobs, in the order in which they count.

    Seed after seed, because a test bed is needed for one seed alone.

    Attributes:
        tasks: Tasks of one round.
        iterative: Tasks in rounds.
        in_rounds_seeds: Number of seeds in rounds: the first ones.
        critics_seeds: Number of seeds of the methods with critics, which take as long as all others together.
        estimated_seeds: Number of seeds of the tasks about which nothing is decided.
    """

    seeds: tuple[int, ...] = tuple(range(20, 40))
    own_beds: bool = True
    tasks: tuple[str, ...] = TASKS
    iterative: tuple[str, ...] = ITERATIVE
    in_rounds_seeds: int = 10
    critics_seeds: int = 5
    estimated_seeds: int = 5

    def __iter__(self) -> Iterator[Job]:
        """Yield the jobs."""
        # half of the seeds can be judged by themselves
        half, in_rounds_half = len(self.seeds) // 2, self.in_rounds_seeds // 2
        yield from self._part(self.seeds[:half], self.seeds[:in_rounds_half])
        for seed, task, method in product(self.seeds[: self.critics_seeds], self.tasks, CRITICS):
            yield self.offline(task, method, seed)
        for task, minutes in ESTIMATED.items():
            for seed in self.seeds[: self.estimated_seeds]:
                yield self.bed(task, seed)
                for method in ("mile", "mile_silence", "hg_dagger", "iwr"):
                    yield self._job(task, method, seed, minutes=minutes)

        # the other half
        yield from self._part(self.seeds[half:], self.seeds[in_rounds_half : self.in_rounds_seeds])
        for seed, task, method in product(self.seeds, self.tasks, CLONING):
            yield self.single(task, method, seed)

    def _part(self, seeds: tuple[int, ...], in_rounds: tuple[int, ...]) -> Iterator[Job]:
        """Yield the runs on the same data of some seeds, and those in rounds of others, whose test beds are there."""
        for seed, task in product(seeds, self.tasks):
            yield from self._same_data(task, seed)
        for seed, task, method in product(in_rounds, self.iterative, IN_ROUNDS):
            yield self.in_rounds(task, method, seed)

    def _same_data(self, task: str, seed: int) -> Iterator[Job]:
        """Yield a seed's test bed, MILE's run, and a run of each other method on what it recorded."""
        yield self.bed(task, seed)
        yield self.single(task, "mile", seed)
        for method in ("mile_silence", *CLONING, *OTHERS):
            if method not in CRITICS:
                yield self.offline(task, method, seed)
        yield self.offline(task, "bc_intervention", seed, "method.shared_trunk=true", label="_one_network")
