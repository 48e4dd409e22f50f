"""Builds all parts of an experiment from its config: environments, human, person, data, method, callbacks, trainer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class, instantiate
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torchrl.envs import EnvBase, TransformedEnv

from mile.calibration import estimate_spread
from mile.datamodules import InterventionDataModule
from mile.datamodules.recorded import check_recorded, corrects, take_recording
from mile.envs import InterventionTransform, ScheduledEnv
from mile.evaluation import Evaluation
from mile.gates.picture import fleet_picture
from mile.humans import Person, SimulatedHuman, Spectator
from mile.humans.corrections import check_corrections
from mile.humans.oversight import Oversight
from mile.ingredients.demonstrations import expert_episode
from mile.ingredients.starts import policy_like, untrained_like
from mile.methods import Method
from mile.methods.method import check_kind
from mile.policies import ChunkPolicy, Policy
from mile.policies.chunk import check_sequences
from mile.running.checks import check_likelihood_of_corrections, is_one_process
from mile.running.event_files import forget_later
from mile.running.people import make_human, make_person
from mile.timing import TimingModel
from mile.transitions import DEMONSTRATION, no_action

KIND = ("head", "chunk", "execute")  # of the policy that learns, among the options of the initial one


@dataclass(frozen=True)
class Assembly:
    """The parts of an experiment; a callback names those that it needs in its `NEEDS`.

    Attributes:
        simulators: Environment without a human.
        env: Environment in which policies act alone, to be evaluated; at a desk with a person who judges.
        supervised: Environment in which the human supervises the policy.
        initial: Initial policy.
        human: Simulated human; stands in for a person where cost and scale, or an expert, are needed.
        person: Person at a console, who supervises instead of the simulated human; None without one.
        data: Recorded steps.
        method: Method that learns.
        oversight: What decides which robots the human attends, and when they are asked to act; None: they attend all.
        before_round: Function that is called before every round but the first, with the policy and the outcomes of the
            rounds before; None for none.
        make_pictured_env: Function that makes an environment of one copy with pictures.
        metric: Metric of the environment, "return" or "success".
        at_desk: Whether a person judges each episode at a robot's desk, where nothing else tells success.
    """

    simulators: ScheduledEnv
    env: EnvBase
    supervised: EnvBase
    initial: Policy
    human: SimulatedHuman
    person: Person | None
    oversight: Oversight | None
    data: InterventionDataModule
    method: Method
    before_round: Callable[[Policy, Sequence[Evaluation]], None] | None
    make_pictured_env: Callable[[], ScheduledEnv]
    metric: str
    at_desk: bool

    def close(self) -> None:
        """Close the person's console, if there is one."""
        if self.person is not None:
            self.person.console.show({"phase": "done"})
            self.person.console.close()


@contextmanager
def environments(cfg: DictConfig) -> Iterator[tuple[ScheduledEnv, ScheduledEnv]]:
    """Make two environments, and close them at the end: one to evaluate in, and one to deploy in.

    They are the same one where there is one arm. Both share one set of processes that play their episodes, and a
    person sees pictures.
    """
    player = instantiate(cfg.env.get("collector"))
    with closing(instantiate(cfg.env, collector=player)) as env:
        if cfg.get("hardware") is not None:
            yield env, env
            return
        options = {"collector": player}
        if cfg.fleet is not None:
            options = {"collector": None, "num_envs": cfg.fleet}
        if cfg.human.person:
            options = {"collector": None, "num_envs": cfg.fleet or 1, "render_mode": "rgb_array"}
        with closing(instantiate(cfg.env, **{"collector": None, **options})) as watched:
            yield env, watched


def assemble(cfg: DictConfig, env: ScheduledEnv, watched: ScheduledEnv) -> Assembly:
    """Build the parts of an experiment.

    Args:
        cfg: Config of the experiment.
        env: Environment to evaluate in.
        watched: Environment to deploy in.
    """
    output = Path(cfg.output_dir)
    data = make_data(cfg.data)
    method_class = get_class(cfg.method._target_)
    check_recorded(data.buffer, method_class)
    if corrects(data.buffer) and method_class.learns_corrections:
        check_likelihood_of_corrections(cfg, "a recording with corrections without actions")
    initial = load_initial(cfg.policy)
    rank_zero_only(forget_later)(output, cfg.ckpt_path and Path(cfg.ckpt_path))

    with torch.random.fork_rng(devices=[]):  # what cannot be is refused here, and no number is drawn
        check_learner(initial, untrained_like(env, initial, **kind_of(cfg.policy)), cfg.method)
    check_corrections(cfg.human.corrections, initial.is_discrete)

    # who supervises; the person first, because a port or a screen may be missing, and calibration takes its time
    oversight: Any = None
    view: Callable[[], Any] = watched.render
    if cfg.fleet is not None:
        oversight = instantiate(cfg.attention)
        view = partial(fleet_picture, watched, oversight)
    elif "_target_" in cfg.gate:
        oversight = instantiate(cfg.gate)
    person = make_person(cfg, watched, view) if cfg.human.person else None
    human = make_human(cfg, env, initial, output)
    supervised = TransformedEnv(watched, InterventionTransform(person or human, oversight))
    supervisor = "a simulated human" if person is None else "a person"
    print(
        f"ready: the initial policy acts in {env.name}, supervised by {supervisor} (cost {human.cost:.2f}, "
        f"scale {human.scale:.2f} nats)",
        flush=True,
    )

    # where policies act alone
    at_desk = person is not None and cfg.get("hardware") is not None
    judged = env
    if person is not None and at_desk:
        judged = TransformedEnv(env, InterventionTransform(Spectator(person)))

    # what learns, and from what
    method = make_method(cfg, judged, initial, human)
    add_demonstrations(cfg, data, env, human.expert)
    before_round = None
    if cfg.human.watch:
        before_round = partial(instantiate(cfg.human.watch), human, env)

    return Assembly(
        simulators=env,
        env=judged,
        supervised=supervised,
        initial=initial,
        human=human,
        person=person,
        oversight=oversight,
        data=data,
        method=method,
        before_round=before_round,
        make_pictured_env=partial(instantiate, cfg.env, num_envs=1, render_mode="rgb_array"),
        metric=env.metric,
        at_desk=at_desk,
    )


def make_data(cfg: DictConfig) -> InterventionDataModule:
    """Build the DataModule, with the recording of another run in it if `from` names one."""
    options = dict(cfg)
    source = options.pop("from")
    data = instantiate(options)
    if source is not None:
        take_recording(source, data.buffer)
    return data


def add_demonstrations(cfg: DictConfig, data: InterventionDataModule, env: ScheduledEnv, expert: Policy) -> None:
    """Record the demonstrations of the expert that the data begins with, as far as they are missing."""
    with_directions = cfg.human.corrections != "takeover"
    missing = set(range(cfg.demonstrations)) - data.buffer.recorded(DEMONSTRATION)
    for number in sorted(missing):
        steps = expert_episode(env, expert, number, cfg.demonstration_seed)
        if data.chunk is not None:  # as the robot's steps have it
            steps["remaining"] = torch.ones_like(steps["step"])
        if with_directions:
            steps["direction"] = no_action(steps["human_action"])
        data.buffer.append(steps)


def load_initial(cfg: DictConfig) -> Policy:
    """Load the initial policy, whatever the learner's is made of."""
    return instantiate({name: value for name, value in cfg.items() if name not in KIND})


def make_learner(cfg: DictConfig, env: EnvBase) -> Policy:
    """Make the policy that learns: the initial one, or one of another kind that acts as it does."""
    policy = load_initial(cfg.policy)
    return policy_like(env, policy, **kind_of(cfg.policy), seed=cfg.seed, **cfg.clone)


def kind_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the options of the policy that learns."""
    return {name: cfg.get(name) for name in KIND}


def check_learner(initial: Policy, learner: Policy, cfg: DictConfig) -> None:
    """Raise ValueError unless a method learns a policy of the learner's kind, before anything expensive begins.

    Args:
        initial: Initial policy.
        learner: Policy of the learner's kind, untrained; or the initial one.
        cfg: Config of the method.
    """
    check_kind(get_class(cfg._target_), learner)
    if isinstance(learner, ChunkPolicy) and learner.is_discrete and "cost" in cfg:
        check_sequences(initial.architecture["action_dim"], learner.execute)


def make_method(cfg: DictConfig, env: EnvBase, initial: Policy, human: SimulatedHuman) -> Method:
    """Build the method, with the parts of an intervention model if it has one."""
    if "cost" not in cfg.method:
        policy = make_learner(cfg, env)
        if "start" in cfg:  # a method that cannot start from the initial policy itself
            policy = instantiate(cfg.start)(env, policy)
        return instantiate(cfg.method, policy=policy)

    shared = cfg.method.encoder != "own"
    mental_model, _ = instantiate(cfg.mental_model)(env, initial, shared_encoder=shared)
    cost, scale = cfg.method.cost, cfg.method.scale
    cost = human.cost * cfg.learner_cost_ratio if cost is None else cost
    scale = human.scale * cfg.learner_scale_ratio if scale is None else scale
    spread = None
    if cfg.method.silence_weight:
        spread = estimate_spread(env, initial, human.expert) if human.spread is None else human.spread
    make = instantiate(cfg.method, _partial_=True)  # Hydra would turn a dataclass among the arguments into a config
    return make(
        policy=make_learner(cfg, env),  # after the mental model: the order decides both first weights
        mental_model=mental_model,
        cost=cost,
        scale=scale,
        timing=make_timing(cfg, human, cost, scale),
        spread=spread,
    )


def make_timing(cfg: DictConfig, human: SimulatedHuman, cost: float, scale: float) -> TimingModel:
    """Build the learner's model of the human in time, of `timings`; a human of that kind lends their release cost."""
    timing = instantiate(cfg.timings[cfg.method.timing])
    if not isinstance(timing, partial):
        return timing
    if type(human.timing) is timing.func:
        return timing(release_cost=human.timing.release_cost)
    return timing(release_cost=cost - cfg.timings.release_margin * scale)


def make_callbacks(cfg: DictConfig, parts: Assembly, references: Mapping[str, Evaluation]) -> list[Callback]:
    """Build the callbacks, each with the parts that its class names in `NEEDS`: argument -> field of `Assembly`.

    A callback that needs a person is left out where there is none.

    Args:
        cfg: Configs of the callbacks, by any name.
        parts: Parts of the experiment.
        references: Evaluations to compare with, by name; "references" in `NEEDS`.

    Raises:
        ValueError: A callback needs a part that does not exist.
    """
    available: dict[str, Any] = {field.name: getattr(parts, field.name) for field in fields(parts)}
    available["references"] = references
    callbacks = []
    for name, options in cfg.items():
        if options is None:  # switched off
            continue
        needs: Mapping[str, str] = getattr(get_class(options._target_), "NEEDS", {})
        if "person" in needs.values() and parts.person is None:
            continue
        if unknown := sorted(set(needs.values()) - available.keys()):
            raise ValueError(f"callbacks.{name} needs '{unknown[0]}'; an experiment has {', '.join(available)}")
        arguments = {argument: available[part] for argument, part in needs.items()}
        callbacks.append(instantiate(options, _partial_=True)(**arguments))
    return callbacks


def make_trainer(cfg: DictConfig, callbacks: list[Callback]) -> Trainer:
    """Build Lightning's trainer."""
    plugins = []
    if is_one_process(cfg.trainer):  # it is rank 0, whatever a cluster's variables say of the job that it is a part of
        plugins.append(LightningEnvironment())
    make = instantiate(cfg.trainer, _partial_=True)
    return make(callbacks=callbacks, logger=instantiate(cfg.logger), plugins=plugins)
