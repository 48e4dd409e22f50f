"""Reference lines: the evaluations that a learnt policy is compared with."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torchrl.envs import EnvBase, TransformedEnv

from mile.envs import InterventionTransform
from mile.evaluation import Evaluation, evaluate_policy
from mile.files import read_json, write_text
from mile.humans import SimulatedHuman
from mile.policies import Policy
from mile.running.assembly import KIND, Assembly
from mile.running.cache import describe_environment, fingerprint, recall, store
from mile.running.people import describe_human
from mile.running.targets import load_config
from mile.timing import Sticky

# parts of the config that two runs must share to have the same human and reference lines, and keys that may differ
FREE = {"env": ("seed", "num_envs", "collector"), "human": ("watch",), "policy": KIND, "evaluation": ()}


def reference_lines(cfg: DictConfig, parts: Assembly) -> dict[str, Evaluation]:
    """Return the evaluations that a learnt policy is compared with, by name.

    The initial policy is always there. The initial policy with interventions is left out where a person would have to
    intervene, the expert where there is none.

    Args:
        cfg: Config of the experiment; `like` names the folder of a run whose lines are taken over.
        parts: Parts of the experiment.
    """
    output = Path(cfg.output_dir)
    references = read_references(output if cfg.like is None else Path(cfg.like))
    if references is None:
        references = {"initial policy": _line(cfg, parts, parts.env, parts.initial)}
        if parts.person is None:
            watched = TransformedEnv(parts.simulators, InterventionTransform(parts.human))  # who attends every step
            references["with interventions"] = _line(cfg, parts, watched, parts.initial, parts.human)
        if not parts.at_desk:
            references["expert (sampled)"] = _line(cfg, parts, parts.env, parts.human.expert, deterministic=False)
    rank_zero_only(write_references)(output, references)
    return references


def _line(
    cfg: DictConfig,
    parts: Assembly,
    env: EnvBase,
    policy: Policy,
    human: SimulatedHuman | None = None,
    deterministic: bool = True,
) -> Evaluation:
    """Return the evaluation of a policy; one that ships or was made before is taken from there.

    Args:
        cfg: Config of the experiment.
        parts: Parts of the experiment.
        env: Environment to evaluate in.
        policy: Policy to evaluate.
        human: Human who intervenes in the environment; None for nobody.
        deterministic: Whether the policy takes its most probable action.
    """
    count, seed = cfg.evaluation.num_episodes, cfg.evaluation.seed
    if parts.at_desk:  # a person judges, each time
        return evaluate_policy(env, policy, count, seed, deterministic)

    # all that it depends on
    supervisor = None
    if human is not None:
        supervisor = {
            "expert": fingerprint(human.expert),
            "mental_model": fingerprint(human.first_impression),
            "cost": human.cost,
            "scale": human.scale,
            **describe_human(cfg.human),
        }
        if isinstance(human.timing, Sticky):
            supervisor["release_cost"] = human.timing.release_cost
        if human.corrections != "takeover":
            supervisor["corrections"] = human.corrections

    depends_on = {
        "environment": describe_environment(cfg.env, parts.simulators),
        "policy": fingerprint(policy),
        "human": supervisor,
        "deterministic": deterministic,
        "num_episodes": count,
        "seed": seed,
    }

    # known, or made now
    rows = recall("evaluation", depends_on, partial(_is_evaluation, count)) if cfg.cache else None
    if rows is None:
        print(f"reference line over {count} episodes …", flush=True)
        outcome = evaluate_policy(env, policy, count, seed, deterministic)
        rows = _as_lists(outcome)
        store("evaluation", depends_on, rows)
    return _as_evaluation(rows)


def _is_evaluation(num_episodes: int, rows: Any) -> bool:
    """Return whether a value from a file is an evaluation of so many episodes."""
    outcome = _as_evaluation(rows)
    columns = asdict(outcome).values()
    present = [column for column in columns if column is not None]
    return all(column.shape == (num_episodes,) and column.isfinite().all() for column in present)


def _as_lists(outcome: Evaluation) -> dict[str, list[Any]]:
    return {name: values.tolist() for name, values in asdict(outcome).items() if values is not None}


def _as_evaluation(rows: Mapping[str, list[Any]]) -> Evaluation:
    return Evaluation(**{name: torch.tensor(values) for name, values in rows.items()})


def check_alike(cfg: DictConfig) -> None:
    """Check that calibration and reference lines of the run that `like` names would come out the same in this one.

    Args:
        cfg: Config of the experiment; `like` names the folder of the other run.

    Raises:
        ValueError: There is no finished run, or it has another human, environment, initial policy or evaluation.
    """
    folder = Path(cfg.like)
    if not (folder / "results.json").exists():
        raise ValueError(f"'{folder}' holds no finished run to be like; give the folder of one")
    own, other = _shared_parts(cfg), _shared_parts(load_config(folder / "config.yaml"))
    for part in FREE:
        if own[part] != other[part]:
            raise ValueError(
                f"the run in '{folder}' used a different {part}; choose one with the same, or remove like=…"
            )


def _shared_parts(cfg: Any) -> dict[str, Any]:
    """Return the parts of a config that `FREE` names, without the keys that may differ."""
    whole: Any = OmegaConf.to_container(cfg, resolve=True)
    parts = {}
    for part, free in FREE.items():
        parts[part] = {key: value for key, value in whole[part].items() if key not in free and value is not None}
    return parts


def write_references(folder: Path, references: Mapping[str, Evaluation]) -> None:
    """Write reference lines into a run's folder, episode by episode."""
    rows = {name: _as_lists(outcome) for name, outcome in references.items()}
    write_text(folder / "references.json", json.dumps(rows) + "\n")


def read_references(folder: Path) -> dict[str, Evaluation] | None:
    """Return the reference lines in a run's folder, None if there are none."""
    if not (folder / "references.json").exists():
        return None
    rows = read_json(folder / "references.json")
    return {name: _as_evaluation(row) for name, row in rows.items()}
