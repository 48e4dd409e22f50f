"""Small methods, recordings and runs that the tests of the methods share."""

from functools import partial

import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback
from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule, ReplayDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.ingredients.demonstrations import expert_episode
from mile.methods import EIL, HACO, IWR, PVP, RLIF, AdvantageConditioned, HGDAgger, Residual, Sirius
from mile.policies import ConditionedPolicy, ResidualPolicy
from mile.transitions import DEMONSTRATION
from tests.support import EveryThird, quiet_trainer

CLONING = [HGDAgger, IWR, Sirius]
BOUNDED = [EIL, HACO, PVP, RLIF]  # methods that need bounded continuous actions
STARTS = {AdvantageConditioned: ConditionedPolicy.of, Residual: partial(ResidualPolicy.of, components=2)}
ENVIRONMENTS = ["Counting-v0", "CountingBox-v0"]  # discrete and continuous actions


class Never(EveryThird):
    """A human who watches."""

    def decide(self, step):
        decision = super().decide(step)
        return decision._replace(intervened=torch.zeros_like(decision.intervened))


def make(kind, env, seed=0, squash=False, **settings):
    """Return a method with a small policy, random by the seed."""
    torch.manual_seed(seed)
    options = {"squash": True} if squash else {}
    policy = make_policy(env, hidden_dims=(8,), **options)
    policy = STARTS.get(kind, lambda policy: policy)(policy)
    return kind(policy, optimizer=partial(torch.optim.Adam, lr=1e-2), **settings)


def supervised(env, name, human=None):
    """Return an environment in which a human watches; every third step is theirs if no other human is given."""
    return TransformedEnv(env, InterventionTransform(human or EveryThird("Box" in name)))


def recorded(name, human=None, episodes=4):
    """Return an environment, and steps recorded in it."""
    env = make_env(name, num_envs=2)
    watched = supervised(env, name, human)
    torch.manual_seed(1)
    return env, collect_episodes(watched, make_policy(env, hidden_dims=(8,)), episodes)


def train(folder, kind, name="Counting-v0", human=None, rounds=2, stop_after=None, ckpt_path=None, demos=0, **data):
    """Train in rounds of two episodes; returns the method and the trainer."""
    env = make_env(name, num_envs=2)
    is_replay = kind is RLIF
    deployment = DeploymentCallback(
        supervised(env, name, human),
        num_rounds=stop_after or rounds,
        episodes_per_round=2,
        epochs_per_round=1 if is_replay else 3,
    )

    # data, with demonstrations that are not recorded yet
    module_class = ReplayDataModule if is_replay else InterventionDataModule
    module = module_class(folder / "buffer", name, **({"batch_size": 16, "seed": 3} | data))
    torch.manual_seed(2)
    for number in set(range(demos)) - module.buffer.recorded(DEMONSTRATION):
        module.buffer.append(expert_episode(env, make_policy(env, hidden_dims=(8,)), number, seed=9))

    # fit
    trainer = quiet_trainer(deployment)
    method = make(kind, env, squash=kind in BOUNDED and "Box" in name)
    trainer.fit(method, datamodule=module, ckpt_path=ckpt_path, weights_only=True)
    return method, trainer
