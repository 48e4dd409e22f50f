"""Builds the simulated human of an experiment, and the place of a person."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from mile.calibration import describe, estimate_cost
from mile.envs import ScheduledEnv
from mile.files import read_json, write_text
from mile.humans import Person, SimulatedHuman
from mile.humans.keymaps import keymap_for
from mile.intervention import check_cost_and_scale, intervention_floor
from mile.policies import Policy
from mile.running.cache import describe_environment, fingerprint, recall, store


def make_human(cfg: DictConfig, env: ScheduledEnv, policy: Policy, output: Path) -> SimulatedHuman:
    """Build the simulated human, with the cost and scale of the config or of a calibration."""
    expert, mental_model = instantiate(cfg.human.expert), instantiate(cfg.human.mental_model)
    path = (output if cfg.like is None else Path(cfg.like)) / "calibration.json"

    # cost and scale: given; known from before this run was stopped, or from another run; or calibrated
    if "cost" in cfg.human:
        figures: Any = {name: cfg.human[name] for name in ("cost", "scale", "release_cost") if name in cfg.human}
        floor = intervention_floor(cfg.human.cost, cfg.human.scale)
        words = f"cost {cfg.human.cost}, scale {cfg.human.scale} nats (floor {floor:.2%})"
    elif path.exists():
        figures = read_json(path)
        words = f"cost {figures['cost']:.2f}, scale {figures['scale']:.2f} nats, as in '{path.parent}'"
    else:
        figures, words = find_calibration(cfg, env, policy, expert, mental_model)
    print(f"human: {words}", flush=True)
    if "cost" not in cfg.human:
        rank_zero_only(write_text)(output / "calibration.json", json.dumps(figures, indent=2) + "\n")

    # the human
    make, timing = instantiate(cfg.human.kind), instantiate(cfg.human.timing)
    if isinstance(timing, partial):
        if "release_cost" not in figures:
            raise ValueError(
                "human.timing needs the cost of staying in control; give it as +human.release_cost=… (nats)"
            )
        timing = timing(release_cost=figures["release_cost"])
    spread = figures.get("spread")
    options = {"timing": timing, "spread": spread, "corrections": cfg.human.corrections}
    return make(expert, mental_model, figures["cost"], figures["scale"], **options)


def find_calibration(
    cfg: DictConfig, env: ScheduledEnv, policy: Policy, expert: Policy, mental_model: Policy
) -> tuple[dict[str, Any], str]:
    """Return a calibration that ships or was made before; otherwise make it, and keep it for later runs.

    A person does not wait for it: with a person at a console, cost and scale are estimated if they are not known.

    Returns:
        The figures of the calibration, and words about them.
    """
    options: Any = OmegaConf.to_container(cfg.human.calibrate, resolve=True)
    settings = {name: value for name, value in options.items() if not name.startswith("_")}
    depends_on = {
        "environment": describe_environment(cfg.env, env),
        "policy": fingerprint(policy),
        "expert": fingerprint(expert),
        "mental_model": fingerprint(mental_model),
        "settings": {**settings, "metric": env.metric},
        **describe_human(cfg.human),
    }
    figures = recall("calibration", depends_on, is_calibration) if cfg.cache else None
    if figures is not None:
        return figures, f"{describe(figures)} (known)"

    if cfg.human.person:
        wanted = {name: settings[name] for name in ("target_ratio", "relative_scale", "seed")}
        cost, scale = estimate_cost(env, policy, expert, mental_model, **wanted)
        return {"cost": cost, "scale": scale}, f"cost {cost:.2f}, scale {scale:.2f} nats (estimated)"

    print("calibrating the human's cost and scale …", flush=True)
    make, timing = instantiate(cfg.human.kind), instantiate(cfg.human.timing)
    calibrate = instantiate(cfg.human.calibrate)
    calibration = calibrate(env, policy, expert, mental_model, metric=env.metric, make=make, timing=timing)
    store("calibration", depends_on, calibration.summary())
    return calibration.summary(), str(calibration)


def describe_human(cfg: DictConfig) -> dict[str, Any]:
    """Return what sets a simulated human apart from the paper's, beside policies, cost and scale: nothing for that."""
    whole: Any = OmegaConf.to_container(cfg, resolve=True)
    special = {}
    if whole["kind"]["_target_"] != "mile.humans.SimulatedHuman":
        special["kind"] = whole["kind"]["_target_"]
    if whole["timing"]["_target_"] != "mile.timing.Memoryless":
        special["timing"] = whole["timing"]
    return special


def is_calibration(figures: Any) -> bool:
    """Return whether a value from a file holds all figures of a calibration."""
    describe(figures)  # which names all of them
    check_cost_and_scale(figures["cost"], figures["scale"])
    return True


def make_person(cfg: DictConfig, env: ScheduledEnv, view: Callable[[], NDArray[np.uint8]]) -> Person:
    """Build a person's place at a console, with a view of the robot."""
    return instantiate(cfg.human.person)(view=view, keymap=keymap_for(env.name, env.action_spec_unbatched))
