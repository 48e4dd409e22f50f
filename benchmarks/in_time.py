"""Humans in time: what a delayed model costs a learner, and what humans with a state cost in collection."""

import tempfile
import warnings
from functools import partial

import torch
from learning import recorded_steps
from lightning import Trainer
from ratio import Figure, ratio_once
from torchrl.envs import TransformedEnv

from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env
from mile.humans import HesitantHuman, SimulatedHuman
from mile.methods import MILE
from mile.policies import GaussianPolicy, load_policy
from mile.timing import Accumulating, Believing, Delayed, Sticky, TimingModel, Tired

ATTEMPTS, STEPS = 15, 300  # one round of Meta-World
COST, SCALE, RELEASE_COST = 20.0, 5.0, 5.0  # nats

HUMANS = {
    "sticky": Sticky(RELEASE_COST),
    "delayed": Delayed(RELEASE_COST, median_delay=10, longest_delay=30),
    "accumulating": Accumulating(RELEASE_COST),
    "believing": Believing(RELEASE_COST),
    "tired": Tired(0.1),
}


def learning_over_memoryless(kind: str, epochs: int = 10) -> Figure:
    """Time of ten epochs of ten batches with a model in time, over the memoryless one: equal rows and steps."""
    timing = HUMANS[kind]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = InterventionDataModule(f"{folder}/buffer", "benchmark", batch_size=256, batches_per_epoch=10)
        for episode in range(ATTEMPTS):
            steps = recorded_steps(STEPS, episode)
            steps["step"] = torch.arange(STEPS)
            data.buffer.append(steps)

        def learn(model: TimingModel | None) -> None:
            torch.manual_seed(0)
            policy, mental_model = (GaussianPolicy(156, 4, (256, 256)) for _ in range(2))
            method = MILE(policy, mental_model, COST, SCALE, timing=model)
            quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
            trainer = Trainer(accelerator="cpu", max_epochs=epochs, enable_model_summary=False, **quiet)
            trainer.fit(method, datamodule=data)

        learn(timing)  # once to warm up
        return ratio_once(partial(learn, timing), partial(learn, None), repetitions=5)


def collection_over_memoryless(name: str, kind: str, copies: int = 16) -> Figure:
    """Episodes a second with a human in time, over those with the memoryless one."""
    robot, expert, mental_model = (load_policy(f"{name}/{role}") for role in ("initial", "expert", "mental_model"))
    env = make_env(name, copies)

    def supervised(human: SimulatedHuman) -> TransformedEnv:
        return TransformedEnv(env, InterventionTransform(human))

    # so high a cost that nobody intervenes: both play the very same episodes
    plain = supervised(SimulatedHuman(expert, mental_model, 1e6, SCALE))
    if kind == "hesitant":
        special = supervised(HesitantHuman(expert, mental_model, 1e6, SCALE))
    else:
        special = supervised(SimulatedHuman(expert, mental_model, 1e6, SCALE, timing=HUMANS[kind]))
    run = partial(collect_episodes, policy=robot, num_episodes=3 * copies, seed=0)
    run(plain)
    return ratio_once(partial(run, plain), partial(run, special))
