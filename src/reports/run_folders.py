"""Finished runs from their folders."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mile.files import read_json
from mile.reports.left_out import words_of
from mile.reports.outcomes import METHODS, MILE_WITH_SILENCE, SCORES, Outcome, Run
from mile.running.targets import load_config


def read_folders(source: Path) -> tuple[list[Run], list[str]]:
    """Read the runs in a folder, at any depth.

    Returns:
        The runs, and a line for each that has not finished or cannot be read.
    """
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
        except Exception as error:  # whatever a folder of unknown origin holds, the other runs are reported
            left_out.append(f"'{folder}' cannot be read: {words_of(error)}")
    return runs, left_out


def _read_run(folder: Path) -> list[Outcome]:
    """Return the outcomes of one finished run: before it, at its end, and after each evaluated round."""
    # imported here, because PyTorch takes seconds and a report of tables does without
    from mile.evaluation import by_round

    cfg: Any = load_config(folder / "config.yaml")
    results = read_json(folder / "results.json")
    evaluations = read_json(folder / "evaluation.json")
    deployments = read_json(folder / "deployment.json")
    policy = read_json(folder / "policy.json")

    metric = _metric(policy)
    score = SCORES[metric]

    # what was recorded before each round's learning
    steps, interventions = [0], [0]
    for deployment in deployments.values():
        steps.append(steps[-1] + int(deployment["steps"]))
        interventions.append(interventions[-1] + int(deployment["interventions"]))

    # the same in all rounds; NaN where no simulated human or no expert played
    method, variant, settings = _method(cfg), _variant(cfg), _settings(cfg)
    period = float(policy.get("control_period", math.nan))
    helped = float(results.get("with interventions", {}).get(score, math.nan))
    expert = float(results.get("expert (sampled)", {}).get(score, math.nan))
    made_by = {
        "person": policy.get("expert", "")[:8],
        "machine": policy.get("machine", ""),
        "torch": policy.get("torch", ""),
    }

    def outcome(round_: int, evaluation: dict[str, Any], final: bool) -> Outcome:
        return Outcome(
            experiment=str(cfg.name),
            method=method,
            variant=variant,
            seed=int(cfg.seed),
            settings=settings,
            metric=metric,
            round=round_,
            final=final,
            score=float(evaluation[score]),
            episodes=int(evaluation["episodes"]),
            steps=steps[round_],
            interventions=interventions[round_],
            seconds=round(interventions[round_] * period, 2),
            helped=helped,
            expert=expert,
            **made_by,
        )

    # evaluations by epochs trained, and of these the last one in each round
    by_epochs = {int(epochs): evaluation for epochs, evaluation in evaluations.items()}
    if min(by_epochs, default=1) < 1:
        raise ValueError("evaluation.json is of an earlier version, without the epochs trained; train it again")
    rounds = by_round(by_epochs, cfg.callbacks.deployment.epochs_per_round)

    outcomes = [
        outcome(0, results["initial policy"], final=True),
        outcome(len(deployments), results["learnt policy"], final=True),
    ]
    for round_, evaluation in rounds.items():
        outcomes.append(outcome(round_, evaluation, final=False))
    return outcomes


def _metric(policy: dict[str, Any]) -> str:
    """Return the metric that a run's policies are judged by.

    Raises:
        ValueError: The run is of a version that called it something else.
    """
    if "rated_by" in policy and "metric" not in policy:
        raise ValueError(
            "it was made by version 0.1 (policy.json has 'rated_by' instead of 'metric'); train it again, or report it "
            "with that version"
        )
    return policy["metric"]


def _method(cfg: Any) -> str:
    """Return the name of a run's method in figures."""
    kind: str = cfg.method._target_.rsplit(".", 1)[-1]
    if cfg.method.get("silence_weight"):
        return MILE_WITH_SILENCE
    if cfg.method.get("shared_trunk"):
        return f"{METHODS[kind]}, one network"
    return METHODS.get(kind, kind)


def _variant(cfg: Any) -> str:
    """Return the further differences to other runs of the same experiment and method."""
    parts = [cfg.variant] if cfg.variant else []
    if cfg.data["from"]:
        parts.append("same data")
    if cfg.data.restart:
        parts.append("restart")
    if cfg.demonstrations:
        parts.append(f"{cfg.demonstrations} demonstrations")
    return ", ".join(parts)


def _settings(cfg: Any) -> str:
    """Return a digest of all that makes a run what it is, but its seed, where files lie, and what is not set (null)."""
    cfg = _without_what_changes_nothing(_without_places(cfg))
    OmegaConf.resolve(cfg)  # now, as what was taken out need not resolve, and the names of policies contain the bed's
    _forget_the_beds_place(cfg)
    settings = _without_nulls(OmegaConf.to_container(cfg))
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def _without_places(cfg: Any) -> Any:
    """Return a copy without the seed, and without folders and files."""
    cfg = OmegaConf.merge(cfg, {"seed": 0, "output_dir": "", "command": "", "ckpt_path": None, "like": None})
    if cfg.data["from"]:
        cfg.data["from"] = "another run"
    if cfg.callbacks.deployment.get("match"):
        cfg.callbacks.deployment.match = "another run"
    return cfg


def _without_what_changes_nothing(cfg: Any) -> Any:
    """Take out the parts that change nothing in what is learnt, and return the config."""
    for part in ("collector", "logger", "trainer", "rates", "cache", "format"):
        cfg.pop(part, None)
    cfg.callbacks.pop("video", None)
    if cfg.get("fleet") is None:
        cfg.pop("attention", None)
    if "_target_" not in cfg.get("gate", {}):
        cfg.pop("gate", None)
    cfg.env.collector = None
    return cfg


def _forget_the_beds_place(cfg: Any) -> None:
    """Name policies by their test bed alone if the run has one of its own, which may lie anywhere."""
    bed = cfg.pop("test_bed", cfg.env.name)
    if bed != cfg.env.name:
        for policy in (cfg.policy, cfg.human.expert, cfg.human.mental_model):
            policy.name = policy.name.replace(bed, "test bed")


def _without_nulls(value: Any) -> Any:
    """Return nested settings in the order of their keys, without those that are null."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in sorted(value.items()) if part is not None}
    return value
