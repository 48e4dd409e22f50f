"""Refuses what cannot be run, before anything expensive begins."""

import math
from functools import partial
from pathlib import Path

import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf

from mile.humans.corrections import KINDS
from mile.policies.chunk import check_chunk
from mile.timing.model import check_likelihood

COUNTS = (  # of which there must be at least 1
    "env.num_envs",
    "callbacks.deployment.num_rounds",
    "callbacks.deployment.episodes_per_round",
    "callbacks.deployment.epochs_per_round",
    "callbacks.evaluation.num_episodes",
    "gate.budget",
    "attention.dwell",
    "callbacks.evaluation.every_n_epochs",
    "calibration.num_episodes",
    "data.batch_size",
    "data.batches_per_epoch",
    "data.updates_per_step",
    "evaluation.num_episodes",
    "mental_model.num_episodes",
)
POSITIVE = ("method.scale", "method.optimizer.lr", "learner_scale_ratio", "learner_cost_ratio")


def check(cfg: DictConfig) -> None:
    """Check the config of an experiment.

    Raises:
        ValueError: The experiment cannot be run as it is; the message says what to change.
    """
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    _check_numbers(cfg)
    _check_match(cfg)
    _check_timing(cfg)
    _check_processes(cfg)
    _check_oversight(cfg)
    _check_chunks(cfg)
    _check_corrections(cfg)
    if cfg.get("hardware") is not None:
        _check_desk(cfg)


def is_one_process(trainer: DictConfig) -> bool:
    """Return whether a run is a process of its own, as with trainer=cpu or trainer=gpu."""
    return trainer.devices == 1 and trainer.get("num_nodes", 1) == 1 and trainer.get("strategy") is None


def _check_numbers(cfg: DictConfig) -> None:
    """Refuse numbers that a part would refuse after minutes of calibration."""
    for key in COUNTS:
        value = OmegaConf.select(cfg, key)
        if value is not None and value < 1:
            raise ValueError(f"{key} must be at least 1, got {value}")
    for key in POSITIVE:
        value = OmegaConf.select(cfg, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{key} must be finite and above 0, got {value}")

    # λ
    weight = OmegaConf.select(cfg, "method.intervention_weight")
    if weight is not None and not 0 <= weight <= 1:
        raise ValueError(f"method.intervention_weight (λ) must lie in [0, 1], got {weight}")


def _check_timing(cfg: DictConfig) -> None:
    """Refuse a learner's model of humans in time that does not exist, or does not go with the method."""
    name = cfg.method.get("timing")
    if name is None:
        return
    if "cost" not in cfg.method:
        raise ValueError(f"method.timing={name} needs a method with an intervention model; choose method=mile")
    names = [key for key, value in cfg.timings.items() if OmegaConf.is_dict(value)]
    if name not in names:
        raise ValueError(f"method.timing must be one of {', '.join(names)}, got '{name}'")

    # numbers out of range, whatever the costs will be
    for part in (cfg.timings[name], cfg.human.timing):
        timing = instantiate(part)
        if isinstance(timing, partial):
            timing = timing(release_cost=0.0)
        if part is cfg.timings[name]:
            check_likelihood(cfg.method.likelihood, timing)


def _check_match(cfg: DictConfig) -> None:
    """Refuse to match a run that is not there."""
    match = cfg.callbacks.deployment.get("match")
    if match is not None and not (Path(match) / "deployment.json").exists():
        raise ValueError(f"'{match}' holds no finished run to match; give the folder of one")


def _check_processes(cfg: DictConfig) -> None:
    """Refuse processes and devices that are not there."""
    if cfg.human.person and not is_one_process(cfg.trainer):
        raise ValueError("a person oversees one process; choose trainer=cpu or trainer=gpu, with trainer.devices=1")
    is_there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "gpu": torch.cuda.is_available() or torch.backends.mps.is_available(),
    }
    wanted = cfg.trainer.accelerator
    if not is_there.get(wanted, True):
        raise ValueError(
            f"trainer.accelerator={wanted} needs a GPU that PyTorch can use, there is none; use trainer=cpu"
        )


def _check_oversight(cfg: DictConfig) -> None:
    """Refuse gates and fleets that cannot be."""
    has_gate = "_target_" in cfg.gate
    if not has_gate and cfg.gate.budget is not None:
        raise ValueError(f"gate.budget={cfg.gate.budget} is a robot's that asks; choose a gate, such as gate=mile")
    if not has_gate and cfg.fleet is None:
        return
    if has_gate and cfg.fleet is not None:
        raise ValueError("in a fleet the human decides when they act, with a gate the robot; choose gate=human")

    # what they need
    wanted, chosen = ("a gate", cfg.gate) if cfg.fleet is None else ("a fleet", cfg.attention)
    if cfg.data["from"] is not None:
        raise ValueError(f"{wanted} needs a deployment, and data.from={cfg.data['from']} is a recording; leave out one")
    if cfg.method.get("timing", "memoryless") != "memoryless" or cfg.method.get("learn_cost"):
        raise ValueError(
            f"{wanted} leaves steps in which no human decides; choose method.timing=memoryless and "
            "method.learn_cost=false"
        )

    # what it goes by
    score = chosen.get("score")
    if score is not None and score._target_.endswith("InterventionProbability") and "cost" not in cfg.method:
        raise ValueError(f"{wanted} that goes by the learnt p(ν=1|s) needs MILE's mental model; choose method=mile")
    learns = cfg.fleet is None or score is not None
    if learns and cfg.callbacks.deployment.num_rounds < 2:
        raise ValueError(
            f"{wanted} learns whom to help when from a first round without it; give "
            "callbacks.deployment.num_rounds=2 or more"
        )
    if cfg.fleet is not None:
        _check_fleet(cfg)
    elif cfg.get("hardware") is not None and cfg.human.person:
        raise ValueError("who oversees an arm must be able to take over at any time; choose gate=human")


def _check_chunks(cfg: DictConfig) -> None:
    """Refuse chunks of actions that cannot be, or that nothing learns from."""
    chunk, execute = cfg.policy.get("chunk"), cfg.policy.get("execute")
    if cfg.data.get("chunk") != chunk:  # neither is in a run of before
        raise ValueError(f"data.chunk={cfg.data.chunk} must be policy.chunk={chunk}; leave it out")
    if chunk is None:
        if execute is not None:
            raise ValueError(f"policy.execute={execute} is a number of the actions of policy.chunk, which is null")
        return

    # what has chunks, and learns from them
    check_chunk(chunk, chunk if execute is None else execute)
    if not get_class(cfg.method._target_).learns_chunks:
        raise ValueError(
            f"policy.chunk={chunk} needs a method that learns chunks of actions; choose method=mile, mile_silence, "
            "hg_dagger, iwr or sirius"
        )
    others = {"likelihood": "product", "timing": "memoryless", "learn_cost": False}
    for name, needed in others.items():
        if cfg.method.get(name, needed) != needed:
            raise ValueError(f"policy.chunk={chunk} needs method.{name}={needed}, got {cfg.method[name]}")
    if "_target_" in cfg.gate or cfg.fleet is not None:
        raise ValueError(
            f"a gate or a fleet judges single actions, and policy.chunk={chunk} decides on several; choose gate=human, "
            "and one robot"
        )


def _check_corrections(cfg: DictConfig) -> None:
    """Refuse corrections without an action where nothing learns from them."""
    kind = cfg.human.corrections
    if kind not in KINDS:
        raise ValueError(f"human.corrections must be one of {', '.join(KINDS)}, got '{kind}'")
    if kind == "takeover":
        return

    # who learns from them
    setting, method = f"human.corrections={kind}", get_class(cfg.method._target_)
    if not method.learns_corrections:
        raise ValueError(
            f"{setting} shows no actions, and {method.__name__} learns from nothing else; choose method=mile or "
            "mile_silence"
        )
    check_likelihood_of_corrections(cfg, setting)

    # what does not go with them
    if "_target_" in cfg.gate or cfg.fleet is not None:
        raise ValueError(f"whom a gate or a fleet asks must act; choose gate=human and one robot with {setting}")
    if cfg.policy.get("chunk") is not None:
        raise ValueError(f"{setting} corrects single actions, and policy.chunk={cfg.policy.chunk} decides on several")


def check_likelihood_of_corrections(cfg: DictConfig, setting: str) -> None:
    """Raise ValueError unless MILE can learn from corrections without an action, which a setting or a recording has."""
    others = {"likelihood": "product", "timing": "memoryless", "learn_cost": False}
    for name, needed in others.items():
        if cfg.method.get(name, needed) != needed:
            raise ValueError(f"{setting} needs method.{name}={needed}, got {cfg.method[name]}")
    if cfg.policy.get("head") not in (None, "gaussian"):
        raise ValueError(f"{setting} needs policy.head=gaussian, got {cfg.policy.head}")


def _check_fleet(cfg: DictConfig) -> None:
    """Refuse fleets of too few robots, and one human in several places."""
    if cfg.fleet < 2:
        raise ValueError(f"a fleet has at least 2 robots, got fleet={cfg.fleet}; leave it out for one")
    if cfg.get("hardware") is not None:
        raise ValueError(f"fleet={cfg.fleet} needs simulators, and a desk has one arm; leave out fleet or hardware")
    if not cfg.human.timing._target_.endswith("Memoryless"):
        raise ValueError(f"fleet={cfg.fleet} has a human who looks away, and knows no other than a memoryless one yet")
    if not is_one_process(cfg.trainer):
        raise ValueError(f"fleet={cfg.fleet} has one human, in one process; choose trainer=cpu or trainer=gpu")


def _check_desk(cfg: DictConfig) -> None:
    """Refuse what must not happen at a robot's desk, or cannot."""
    if cfg.method._target_.endswith("PPL") and cfg.method.horizon:  # others have a horizon of another kind
        raise ValueError(
            f"method.horizon={cfg.method.horizon} plays attempts again in a simulator, and a desk has none; choose "
            "method.horizon=0"
        )
    is_real = getattr(get_class(cfg.hardware._target_), "real", True)  # unless a bench says that it is not
    if not cfg.human.person:
        if is_real:
            raise ValueError(
                "a simulated human's expert must not move a real arm; choose hardware=simulated, or a person"
            )
        return

    # a person
    if "cost" not in cfg.human:
        raise ValueError(
            "nothing is calibrated on an arm that a person oversees; choose human=on_widowx, or add +human.cost=70 "
            "+human.scale=100 (Table I)"
        )
    epochs, evaluation = cfg.callbacks.deployment.epochs_per_round, cfg.callbacks.evaluation
    every = None if evaluation is None else evaluation.every_n_epochs
    if every is None or epochs % every:
        raise ValueError(
            "the person at the desk must see the learnt policy before they leave: callbacks.evaluation.every_n_epochs "
            f"must divide the {epochs} epochs of a round, got {every}"
        )
