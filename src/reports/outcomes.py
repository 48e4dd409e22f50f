"""How good a run's policy is after each round: the rows of tables and figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MILE_WITH_SILENCE = "MILE + silence"
METHODS = {  # names in figures, in their order; a method that is not among them comes last, by its class's name
    "MILE": "MILE",
    "MILE, silence_weight": MILE_WITH_SILENCE,
    "BCIntervention": "BC intervention",
    "HGDAgger": "HG-DAgger",
    "IWR": "IWR",
    "Sirius": "Sirius",
    "RLIF": "RLIF",
}
SCORES = {"return": "mean_return", "success": "success_rate"}  # metric: its name in the summary of an evaluation


@dataclass(frozen=True)
class Outcome:
    """How good a run's policy is after a round; round 0 is the initial policy.

    Attributes:
        experiment: Name of the experiment.
        method: Name of the method in figures.
        variant: Further differences to other runs of the same experiment and method; "" if there are none.
        seed: Seed of training.
        settings: Digest of the run's config, without seed and places.
        metric: Metric that policies are judged by, "return" or "success".
        round: Number of deployments learnt from.
        final: Whether the score is from the final table, and not from an evaluation between rounds.
        score: Mean return, or success rate.
        episodes: Number of episodes that the score is the mean of.
        steps: Number of steps recorded so far.
        interventions: Number of steps with ν=1 recorded so far.
        seconds: Time in which the human was in control so far, s of the simulated world; NaN: not known.
        helped: Score of the initial policy with interventions.
        expert: Score of the expert.
        person: Beginning of the expert's fingerprint; "" if it is not known.
        machine: Kind of machine and processor; "" if it is not known.
        torch: Version of PyTorch; "" if it is not known.
    """

    experiment: str
    method: str
    variant: str
    seed: int
    settings: str
    metric: str
    round: int
    final: bool
    score: float
    episodes: int
    steps: int
    interventions: int
    seconds: float
    helped: float
    expert: float
    person: str
    machine: str
    torch: str

    @property
    def series(self) -> tuple[str, str, str]:
        """Experiment, method and variant: what runs share that differ in their seed alone."""
        return self.experiment, self.method, self.variant


class Run(NamedTuple):
    """The outcomes of one run.

    Attributes:
        place: Folder of the run, or table that it is in.
        outcomes: Outcomes before the run, after rounds that were evaluated, and at its end.
    """

    place: Path
    outcomes: list[Outcome]
