"""Finished runs as rows of figures, from their folders or from a table of earlier ones."""

import csv
import hashlib
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from mile.files import in_a_line, read_json, write_text
from mile.running.targets import load_config

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
KEYS = {"return": "mean_return", "success": "success_rate"}  # what policies are judged by, in an evaluation's summary
# how a formula begins (OWASP, "CSV injection"), or a formula with apostrophes before it
FORMULA = re.compile(r"'*[=+\-@＝＋－＠\t\r\n]")


@dataclass(frozen=True)
class Outcome:
    """How good a run's policy is after a round; round 0 is the initial policy.

    Attributes:
        experiment: name of the experiment.
        method: as figures show it.
        variant: what else tells its runs apart from others of the same experiment and method; "" if nothing does.
        seed: of training.
        settings: digest of the run's config, seed and places left out.
        metric: what policies are judged by, "return" or "success".
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
    metric: str
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


class Run(NamedTuple):
    """What was read of one run.

    Attributes:
        place: Its folder, or the table that it is in.
        outcomes: Before it, after rounds that were evaluated, and at its end.
    """

    place: Path
    outcomes: list[Outcome]


def read_runs(sources: Iterable[str | Path]) -> tuple[list[Outcome], list[str]]:
    """Read all runs of some folders, and those in CSV files of earlier reports.

    Runs of one series must have the same settings: those that most of its seeds have.

    Args:
        sources: Folders, searched for runs at any depth, and files that end in .csv.

    Returns:
        The outcomes, and a line for each run that is left out.

    Raises:
        ValueError: A source is neither, a table is none of runs, or there is no run at all.
    """
    runs: list[Run] = []
    left_out: list[str] = []
    for source in map(Path, sources):
        if source.suffix == ".csv":
            runs += _read_table(source)
        elif source.is_dir():
            read, unread = _read_folders(source)
            runs += read
            left_out += unread
        else:
            raise ValueError(f"'{source}' is no folder and no .csv; give folders of runs, or tables of earlier reports")

    runs, others = _alike(runs)
    left_out += others
    if not runs:
        reason = f"the first of {len(left_out)}: {left_out[0]}" if left_out else "a run's folder holds results.json"
        raise ValueError(f"no finished run in {', '.join(map(str, sources))}; {reason}")
    return list(dict.fromkeys(outcome for run in runs for outcome in run.outcomes)), left_out


def write_table(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write one line for each outcome, as `read_runs` reads them."""
    write_csv(path, [field.name for field in fields(Outcome)], (asdict(outcome) for outcome in outcomes))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that a spreadsheet shows as they are: text that it would take for a formula begins with an apostrophe.

    Args:
        path: File, replaced as a whole.
        header: Names of the columns.
        rows: Cells by column; numbers stay numbers.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, header)
    table.writeheader()
    for row in rows:
        table.writerow({name: _harmless(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    write_text(path, text.getvalue())


def _harmless(text: str) -> str:
    text = text.encode(errors="replace").decode()  # half a character of a browser's is none in UTF-8
    return f"'{text}" if FORMULA.match(text) else text


def _original(cell: str) -> str:
    """Undo `_harmless`."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _read_table(path: Path) -> list[Run]:
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Outcome)} | {"final": "True".__eq__}
    runs: defaultdict[tuple[tuple[str, str, str], int, str], list[Outcome]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        try:
            for row in csv.DictReader(file):
                outcome = Outcome(**{name: kind(_original(row[name])) for name, kind in kinds.items()})
                if outcome.metric not in KEYS:
                    raise ValueError(f"metric must be one of {list(KEYS)}, got '{outcome.metric}'")
                runs[outcome.series, outcome.seed, outcome.settings].append(outcome)
        except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
            raise ValueError(f"'{path}' is no table of runs ({words_of(error)}); make it with mile-report") from None

    for (series, seed, _), outcomes in runs.items():
        if not any(outcome.round == 0 for outcome in outcomes):
            lacking = "round 0"
        elif not any(outcome.round and outcome.final for outcome in outcomes):
            lacking = "its last round"
        else:
            continue
        run = " ".join([*series, str(seed)])
        raise ValueError(f"'{path}' is a part of a table: {run} has no line for {lacking}; make it with mile-report")
    return [Run(path, outcomes) for outcomes in runs.values()]


def _read_folders(source: Path) -> tuple[list[Run], list[str]]:
    """Return the runs in a folder, and a line for each that has not finished or cannot be read."""
    runs, left_out = [], []
    for config in sorted(source.rglob("config.yaml")):
        folder = config.parent
        if folder.name == ".hydra":
            continue
        if not (folder / "results.json").exists():
            left_out.append(f"'{folder}' has not finished")
            continue
        try:
            runs.append(Run(folder, _read_run(folder)))
        except Exception as error:  # whatever somebody else's folder holds, it holds up nobody but itself
            left_out.append(f"'{folder}' cannot be read: {words_of(error)}")
    return runs, left_out


def words_of(error: Exception) -> str:
    """Return what an error says in one line, with its kind if the words alone do not tell."""
    return in_a_line(error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}")


def _alike(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Keep the runs of each series with the settings that most of its seeds have, and say which ones are left out.

    Of several settings that as many have, those in a table are kept, or else those that were read first.
    """
    # the seeds of each series by settings
    seeds: defaultdict[tuple[str, str, str], dict[str, set[int]]] = defaultdict(dict)
    tabled: set[str] = set()
    for run in runs:
        outcome = run.outcomes[0]
        seeds[outcome.series].setdefault(outcome.settings, set()).add(outcome.seed)
        if run.place.suffix == ".csv":
            tabled.add(outcome.settings)

    # what most of them share: of equals, `max` returns the first
    shared: dict[tuple[str, str, str], str] = {}
    for series, by_settings in seeds.items():
        shared[series] = max(by_settings, key=lambda digest: (len(by_settings[digest]), digest in tabled))

    kept, left_out = [], []
    for run in runs:
        outcome = run.outcomes[0]
        if outcome.settings == shared[outcome.series]:
            kept.append(run)
            continue
        experiment, method, variant = outcome.series
        left_out.append(
            f"'{run.place}' (seed {outcome.seed}) has other settings than most runs of {experiment} by {method}; "
            f"report it apart, or train it with a name of its own: variant=… (now '{variant}')"
        )
    return kept, left_out


def _read_run(folder: Path) -> list[Outcome]:
    """Return the outcomes of one finished run: before it, at its end, and after each evaluated round."""
    # imported here, because PyTorch takes seconds and a report of tables does without
    from mile.evaluation import by_round

    cfg: Any = load_config(folder / "config.yaml")
    results, evaluated, deployed, policy = (
        read_json(folder / f"{name}.json") for name in ("results", "evaluation", "deployment", "policy")
    )
    metric = policy["metric"]
    key = KEYS[metric]

    # what was recorded before each round's learning
    steps, interventions = [0], [0]
    for row in deployed.values():
        steps.append(steps[-1] + int(row["steps"]))
        interventions.append(interventions[-1] + int(row["interventions"]))

    kind: str = cfg.method._target_.rsplit(".", 1)[-1]

    def outcome(number: int, row: dict[str, Any], final: bool) -> Outcome:
        return Outcome(
            str(cfg.name),
            SILENCE if cfg.method.get("silence_weight") else METHODS.get(kind, kind),
            _variant(cfg),
            int(cfg.seed),
            _settings(cfg),
            metric,
            number,
            final,
            float(row[key]),
            int(row["episodes"]),
            steps[number],
            interventions[number],
            # nobody plays the person, or an expert at a desk
            float(results.get("with interventions", {}).get(key, math.nan)),
            float(results.get("expert (sampled)", {}).get(key, math.nan)),
        )

    by_epochs = {int(epochs): row for epochs, row in evaluated.items()}
    if min(by_epochs, default=1) < 1:
        raise ValueError("evaluation.json is of an earlier version, without the epochs trained; train it again")
    rounds = by_round(by_epochs, cfg.callbacks.deployment.epochs_per_round)
    ends = [outcome(0, results["initial policy"], True), outcome(len(deployed), results["learnt policy"], True)]
    return [*ends, *(outcome(number, row, False) for number, row in rounds.items())]


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
    cfg.callbacks.pop("video", None)  # it changes nothing in a run
    cfg.env.collector = None
    settings = _without_nulls(OmegaConf.to_container(cfg, resolve=True))
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in sorted(value.items()) if each is not None}
    return value
