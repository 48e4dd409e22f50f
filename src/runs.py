"""Finished runs as rows of figures, from their folders or from a table of earlier ones."""

import csv
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

SILENCE = "MILE + silence"
METHODS = {  # as figures show them, in their order; a method that is not among them comes last, by its class's name
    "MILE": "MILE",
    "MILE, silence_weight": SILENCE,
    "BCIntervention": "BC intervention",
    "HGDAgger": "HG-DAgger",
    "IWR": "IWR",
    "Sirius": "Sirius",
    "RLIF": "RLIF",
}


@dataclass(frozen=True)
class Outcome:
    """How good a run's policy is after a round; round 0 is the initial policy.

    Attributes:
        experiment: name of the experiment.
        method: as figures show it.
        variant: what else tells its runs apart from others of the same experiment and method; "" if nothing does.
        seed: of training.
        settings: digest of the run's config, seed and places left out.
        of: what policies are judged by, "return" or "success".
        round: deployments learnt from.
        final: judged on the episodes of the final table, not on those between rounds.
        score: mean return, or success rate.
        episodes: by how many it was judged.
        steps: recorded so far.
        interventions: steps with ν=1 recorded so far.
        helped: score of the initial policy with interventions.
        expert: score of the expert.
    """

    experiment: str
    method: str
    variant: str
    seed: int
    settings: str
    of: str
    round: int
    final: bool
    score: float
    episodes: int
    steps: int
    interventions: int
    helped: float
    expert: float

    @property
    def series(self) -> tuple[str, str, str]:
        """What the runs share that differ in their seed alone."""
        return self.experiment, self.method, self.variant


def read_runs(sources: Iterable[str | Path]) -> tuple[list[Outcome], list[Path]]:
    """Read all runs of some folders, and those in CSV files of earlier reports.

    Args:
        sources: folders, searched for runs at any depth, and files that end in .csv.

    Returns:
        The outcomes, and the folders of runs that have not finished.

    Raises:
        ValueError: there is no run at all, or runs of one series have different settings.
    """
    outcomes, unfinished, seen = [], [], {}
    for source in map(Path, sources):
        if source.suffix == ".csv":
            found = [(it, source) for it in _read_table(source)]
        else:
            found = []
            for config in sorted(source.rglob("config.yaml")):
                if config.parent.name == ".hydra":
                    continue
                if (config.parent / "results.json").exists():
                    found += [(it, config.parent) for it in _read_run(config.parent)]
                else:
                    unfinished.append(config.parent)
        for outcome, place in found:
            settings, first = seen.setdefault(outcome.series, (outcome.settings, place))
            if settings != outcome.settings:
                experiment, method, variant = outcome.series
                raise ValueError(
                    f"'{place}' and '{first}' are runs of {experiment} by {method} with different settings; "
                    f"report them apart, or name one: variant=… (now '{variant}')"
                )
            outcomes.append(outcome)
    if not outcomes:
        raise ValueError(f"no finished run in {', '.join(map(str, sources))}; a run's folder holds results.json")
    return list(dict.fromkeys(outcomes)), unfinished


def write_table(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write one line for each outcome, as `read_runs` reads them."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Outcome)])
        table.writeheader()
        table.writerows(asdict(outcome) for outcome in outcomes)


def _read_table(path: Path) -> list[Outcome]:
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Outcome)} | {"final": "True".__eq__}
    with path.open(newline="") as file:
        try:
            table = [Outcome(**{name: kind(row[name]) for name, kind in kinds.items()}) for row in csv.DictReader(file)]
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"'{path}' is no table of runs ({error!r}); make it with mile-report") from None
    runs = {(*it.series, it.seed) for it in table}
    for number, complete in (
        ("round 0", {(*it.series, it.seed) for it in table if it.round == 0}),
        ("its last round", {(*it.series, it.seed) for it in table if it.round and it.final}),
    ):
        if lacking := runs - complete:
            run = " ".join(map(str, min(lacking)))
            raise ValueError(f"'{path}' is a part of a table: {run} has no line for {number}; make it with mile-report")
    return table


def _read_run(folder: Path) -> list[Outcome]:
    """Return the outcomes of one finished run: before it, after each evaluated round, and the final one."""
    cfg: Any = OmegaConf.load(folder / "config.yaml")
    results, evaluated, deployed = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("results", "evaluation", "deployment")
    )
    of = json.loads((folder / "policy.json").read_text())["rated_by"]
    key = {"return": "mean_return", "success": "success_rate"}[of]
    steps, interventions = [0], [0]
    for row in deployed.values():
        steps.append(steps[-1] + row["steps"])
        interventions.append(interventions[-1] + row["interventions"])

    kind: str = cfg.method._target_.rsplit(".", 1)[-1]

    def outcome(number: int, row: dict[str, Any], final: bool) -> Outcome:
        return Outcome(
            cfg.name,
            SILENCE if cfg.method.get("silence_weight") else METHODS.get(kind, kind),
            _variant(cfg),
            cfg.seed,
            _settings(cfg),
            of,
            number,
            final,
            row[key],
            row["episodes"],
            steps[number],
            interventions[number],
            results.get("with interventions", {}).get(key, math.nan),  # nobody plays the person, or an expert at a desk
            results.get("expert (sampled)", {}).get(key, math.nan),
        )

    rhythm = cfg.callbacks.evaluation.every_n_epochs / cfg.callbacks.deployment.epochs_per_round
    rounds = [outcome(int((int(number) + 1) * rhythm), row, False) for number, row in evaluated.items()]
    ends = [outcome(0, results["initial policy"], True), outcome(len(deployed), results["learnt policy"], True)]
    return [*ends, *rounds]


def _variant(cfg: Any) -> str:
    parts = [
        cfg.variant,
        "same data" if cfg.data["from"] else None,
        "restart" if cfg.data.restart else None,
        f"{cfg.demonstrations} demonstrations" if cfg.demonstrations else None,
    ]
    return ", ".join(part for part in parts if part)


def _settings(cfg: Any) -> str:
    """Return a digest of all that makes a run what it is, but its seed, where files lie, and what is not set (null)."""
    cfg = OmegaConf.merge(cfg, {"seed": 0, "output_dir": "", "command": "", "ckpt_path": None, "like": None})
    if cfg.data["from"]:
        cfg.data["from"] = "another run"
    if cfg.callbacks.deployment.get("match"):
        cfg.callbacks.deployment.match = "another run"
    for part in ("collector", "logger", "trainer"):
        cfg.pop(part)
    cfg.env.collector = None
    settings = _without_nulls(OmegaConf.to_container(cfg, resolve=True))
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in sorted(value.items()) if each is not None}
    return value
