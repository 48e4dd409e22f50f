"""Learn from interventions: Algorithm 1 of the paper.

python src/train.py experiment=lunarlander
"""

import json
import os
import shlex
from collections.abc import Callable
from contextlib import closing, redirect_stdout
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning import Trainer, seed_everything
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torchrl.envs import EnvBase, TransformedEnv

from mile.datamodules import InterventionDataModule
from mile.datamodules.recorded import take_recording
from mile.envs import InterventionTransform, ScheduledEnv
from mile.evaluation import Evaluation, by_round, evaluate_policy
from mile.files import read_json, write_text
from mile.humans import Person, SimulatedHuman, Spectator
from mile.humans.controls import keymap_for
from mile.ingredients.demonstrations import expert_episode
from mile.intervention import intervention_floor
from mile.methods import Method
from mile.policies import Policy, save_policy
from mile.reports.tables import print_rounds, print_table, write_json
from mile.running.command_line import entry_point
from mile.running.event_files import forget_later
from mile.running.folder import continued, occupied
from mile.running.references import check_alike, read_references, write_references
from mile.transitions import DEMONSTRATION


def train(cfg: DictConfig) -> dict[str, Evaluation]:
    """Run one experiment and return the rows of its final table."""
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if cfg.human.person and not _is_one_process(cfg.trainer):
        raise ValueError("a person oversees one process; choose trainer=cpu or trainer=gpu, with trainer.devices=1")
    if cfg.get("hardware") is not None:
        if cfg.human.person and "cost" not in cfg.human:
            raise ValueError(
                "nothing is calibrated on an arm that a person oversees; choose human=on_widowx, or add +human.cost=70 "
                "+human.scale=100 (Table I)"
            )
        deployment, evaluation = cfg.callbacks.deployment, cfg.callbacks.evaluation
        epochs = deployment.num_rounds * deployment.epochs_per_round
        if cfg.human.person and evaluation.every_n_epochs > epochs:
            raise ValueError(
                "the person at the desk must see the learnt policy before they leave: "
                f"callbacks.evaluation.every_n_epochs must be at most {epochs}, got {evaluation.every_n_epochs}"
            )
        if not cfg.human.person and cfg.hardware._target_.endswith(".Desk"):
            raise ValueError(
                "a simulated human's expert must not move a real arm; choose hardware=simulated, or a person"
            )

    # keep the config; a run that goes on has its own
    output = Path(cfg.output_dir)
    if not (output / "config.yaml").exists():
        kept = OmegaConf.merge(
            cfg, {"output_dir": cfg.output_dir, "command": cfg.command}
        )  # the rest follows, if moved
        rank_zero_only(write_text)(output / "config.yaml", OmegaConf.to_yaml(kept))

    # one environment to evaluate in, one to learn from
    player = instantiate(cfg.env.get("collector"))  # one set of processes plays for all environments
    seen = {"num_envs": 1, "render_mode": "rgb_array"} if cfg.human.person else {"collector": player}
    with closing(instantiate(cfg.env, collector=player)) as env:
        if cfg.get("hardware") is not None:  # there is one arm
            return train_in(cfg, env, env)
        with closing(instantiate(cfg.env, **{"collector": None, **seen})) as watched:
            return train_in(cfg, env, watched)


def train_in(cfg: DictConfig, env: ScheduledEnv, watched: ScheduledEnv) -> dict[str, Evaluation]:
    """Run one experiment: evaluate in one environment, learn from deployments in the other."""
    output = Path(cfg.output_dir)
    seed_everything(cfg.seed, verbose=False)

    data, initial = make_data(cfg.data), instantiate(cfg.policy)
    rank_zero_only(forget_later)(output, cfg.ckpt_path and Path(cfg.ckpt_path))
    logger = instantiate(cfg.logger) or False
    human = make_human(cfg, env, initial, output)
    person = make_person(cfg, watched) if cfg.human.person else None
    supervised = TransformedEnv(watched, InterventionTransform(person or human))
    at_desk = person is not None and cfg.get("hardware") is not None  # where they alone know what success is
    judged = TransformedEnv(env, InterventionTransform(Spectator(person))) if person and at_desk else env
    method = make_method(cfg, judged, initial, human)
    for number in sorted(set(range(cfg.demonstrations)) - data.buffer.recorded(DEMONSTRATION)):
        data.buffer.append(expert_episode(env, human.expert, number, cfg.demonstration_seed))

    evaluate = partial(evaluate_policy, num_episodes=cfg.evaluation.num_episodes, seed=cfg.evaluation.seed)
    references = read_references(output if cfg.like is None else Path(cfg.like))
    if references is None:
        print(f"reference lines over {cfg.evaluation.num_episodes} episodes each …", flush=True)
        with_human, expert = None if person else supervised, None if at_desk else human.expert
        references = make_references(evaluate, initial, judged, with_human, expert)
    rank_zero_only(write_references)(output, references)
    watch = cfg.human.watch and partial(instantiate(cfg.human.watch), human, env)
    given = {
        "deployment": {"env": supervised, "before_round": watch},
        "evaluation": {"env": judged},
        "console": {"person": person},
        "study": {"person": person, "env": supervised, "initial": initial},
        "video": {"make_env": partial(instantiate, cfg.env, num_envs=1, render_mode="rgb_array"), "human": human},
    }
    if cfg.data["from"] is not None:
        given["deployment"] |= {"num_rounds": 1, "episodes_per_round": None}
    absent = () if person else ("console", "study")
    callbacks = {
        name: instantiate(callback, **given.get(name, {}))
        for name, callback in cfg.callbacks.items()
        if name not in absent
    }
    callbacks["evaluation"].references = references
    # one process is rank 0, whatever a cluster's variables say of the job that it is a part of
    own = {"plugins": [LightningEnvironment()]} if _is_one_process(cfg.trainer) else {}
    trainer: Trainer = instantiate(cfg.trainer, callbacks=list(callbacks.values()), logger=logger, **own)
    try:
        trainer.fit(method, datamodule=data, ckpt_path=cfg.ckpt_path, weights_only=True)
    finally:
        if person is not None:
            person.console.show({"phase": "done"})
            person.console.close()
    if not trainer.is_global_zero:
        return {}

    deployed, evaluated = callbacks["deployment"].outcomes, callbacks["evaluation"].evaluations
    evaluate_learnt = None if at_desk else partial(evaluate, env)  # at a desk the person who judges has left
    return conclude(cfg, method, deployed, evaluated, references, evaluate_learnt, env.metric)


def conclude(
    cfg: DictConfig,
    method: Method,
    deployed: list[Evaluation],
    evaluated: dict[int, Evaluation],
    references: dict[str, Evaluation],
    evaluate: Callable[[Policy], Evaluation] | None,
    metric: str,
) -> dict[str, Evaluation]:
    """Leave a run's outcomes and its policy in its folder, evaluate that policy, and print all of it."""
    output = Path(cfg.output_dir)
    write_json(output / "deployment.json", {str(i): outcome for i, outcome in enumerate(deployed)})
    write_json(output / "evaluation.json", {str(epochs): outcome for epochs, outcome in evaluated.items()})
    save_policy(
        method.policy,
        output / "policy",
        environment=cfg.env.name,
        metric=metric,
        role="learnt",
        seed=cfg.seed,
        command=cfg.command,
        training_steps=method.trainer.global_step,
    )
    print("evaluating the learnt policy …", flush=True)
    rows = {**references, "learnt policy": evaluate(method.policy) if evaluate else list(evaluated.values())[-1]}
    if "expert (sampled)" in rows:
        rows["expert (sampled)"] = rows.pop("expert (sampled)")  # last
    write_json(output / "results.json", rows)

    print_rounds(deployed, by_round(evaluated, cfg.callbacks.deployment.epochs_per_round), metric)
    print_table(f"{cfg.name}, seed {cfg.seed}, {cfg.evaluation.num_episodes} episodes each", rows, metric)
    output = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    print(f"{output}: policy, results, deployment and evaluation by round, buffer")
    print(f"tensorboard --logdir {shlex.quote(str(output))}")
    return rows


def make_references(
    evaluate: Callable[..., Evaluation],
    initial: Policy,
    env: EnvBase,
    supervised: EnvBase | None,
    expert: Policy | None,
) -> dict[str, Evaluation]:
    """Evaluate what a learnt policy is compared with, as far as it is there."""
    references = {"initial policy": evaluate(env, initial)}
    if supervised is not None:
        references["with interventions"] = evaluate(supervised, initial)
    if expert is not None:
        references["expert (sampled)"] = evaluate(env, expert, deterministic=False)
    return references


def make_data(cfg: DictConfig) -> InterventionDataModule:
    """Build the DataModule, with the recording of another run in it if `from` names one."""
    data = instantiate({name: value for name, value in cfg.items() if name != "from"})
    if cfg["from"] is not None:
        take_recording(cfg["from"], data.buffer)
    return data


def make_method(cfg: DictConfig, env: EnvBase, initial: Policy, human: SimulatedHuman) -> Method:
    """Build the method, with the parts of an intervention model if it has one."""
    if "cost" not in cfg.method:
        policy = instantiate(cfg.policy)
        if "start" in cfg:  # what cannot start from the initial policy itself
            policy = instantiate(cfg.start)(env, policy)
        return instantiate(cfg.method, policy=policy)
    mental_model, _ = instantiate(cfg.mental_model)(env, initial)
    return instantiate(
        cfg.method,
        policy=instantiate(cfg.policy),
        mental_model=mental_model,
        cost=human.cost * cfg.learner_cost_ratio if cfg.method.cost is None else cfg.method.cost,
        scale=human.scale * cfg.learner_scale_ratio if cfg.method.scale is None else cfg.method.scale,
    )


def make_human(cfg: DictConfig, env: ScheduledEnv, policy: Policy, output: Path) -> SimulatedHuman:
    """Build the simulated human; cost and scale may be known from before this run was stopped, or from another one."""
    expert, mental_model = instantiate(cfg.human.expert), instantiate(cfg.human.mental_model)
    if "cost" in cfg.human:
        cost, scale = cfg.human.cost, cfg.human.scale
        print(f"human: cost {cost}, scale {scale} nats (floor {intervention_floor(cost, scale):.2%})")
        return SimulatedHuman(expert, mental_model, cost, scale)
    known = (output if cfg.like is None else Path(cfg.like)) / "calibration.json"
    if known.exists():
        found = read_json(known)
        print(f"human: as in '{known.parent}', cost {found['cost']:.2f}, scale {found['scale']:.2f} nats")
    else:
        print("calibrating the human's cost and scale …", flush=True)
        calibration = instantiate(cfg.human.calibrate)(env, policy, expert, mental_model, metric=env.metric)
        found = calibration.summary()
        print(f"human: {calibration}")
    rank_zero_only(write_text)(output / "calibration.json", json.dumps(found, indent=2) + "\n")
    return SimulatedHuman(expert, mental_model, found["cost"], found["scale"])


def make_person(cfg: DictConfig, env: ScheduledEnv) -> Person:
    """Build the person's place at a console."""
    return instantiate(cfg.human.person)(view=env.render, keymap=keymap_for(env.name, env.action_spec_unbatched))


def _is_one_process(trainer: DictConfig) -> bool:
    """Return whether a run is a process of its own, as with trainer=cpu or trainer=gpu."""
    return trainer.devices == 1 and trainer.get("num_nodes", 1) == 1 and trainer.get("strategy") is None


@entry_point("train")
def main(cfg: DictConfig) -> float | None:
    """Run one experiment, or continue one; return what a search of hyperparameters goes by."""
    given = HydraConfig.get().overrides
    if _is_one_process(cfg.trainer):
        # Lightning has taken the rank from RANK, SLURM_PROCID and the like
        rank_zero_only.rank = 0  # pyright: ignore[reportFunctionMemberAccess]
        ranks = 1
    else:
        ranks = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_STEP_NUM_TASKS", "1")))
    folder_is_known = any(override.startswith("hydra.run.dir=") for override in given.hydra)
    if ranks > 1 and HydraConfig.get().mode != RunMode.MULTIRUN and not folder_is_known:
        raise ValueError(f"{ranks} processes that are started apart must share a folder; give hydra.run.dir=…")
    cfg = continued(cfg, [override for override in given.task if not override.startswith("ckpt_path=")])
    if cfg.like is not None:
        check_alike(cfg)
    if getattr(rank_zero_only, "rank", 0):
        with redirect_stdout(None):
            train(cfg)
        return None
    output = Path(cfg.output_dir)
    with occupied(output):
        if (output / "results.json").exists():
            print(f"'{output}' is finished; its figures are in results.json")
        else:
            train(cfg)
        evaluated = list(read_json(output / "evaluation.json").values())
    return evaluated[-1]["mean_return"] if evaluated else None  # Meta-World's is the success rate


if __name__ == "__main__":
    main()
