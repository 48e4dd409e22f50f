"""Deep Q-learning for discrete actions, with TorchRL's loss and replay buffer (App. B)."""

from collections.abc import Iterator

import torch
from tensordict.nn import TensorDictSequential
from torch import Tensor, nn
from torch.optim import Adam
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer, TensorSpec
from torchrl.envs import EnvBase
from torchrl.modules import EGreedyModule, QValueActor
from torchrl.objectives import DQNLoss, SoftUpdate

from mile.policies import CategoricalPolicy

MAX_GRADIENT_NORM = 10.0


class _Values(nn.Module):
    """The network as TorchRL wants it: q(s, ·) for the observed entries."""

    def __init__(self, policy: CategoricalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.policy.values(*inputs)


def make_dqn(policy: CategoricalPolicy, action_spec: TensorSpec, discount: float = 0.99) -> tuple[QValueActor, DQNLoss]:
    """Return a greedy actor and double DQN's loss, which trains the network of a Boltzmann policy in place.

    Args:
        policy: Policy whose network's outputs become Q-values.
        action_spec: Action spec of the environment, unbatched.
        discount: Discount factor γ.
    """
    actor = QValueActor(_Values(policy), in_keys=list(policy.in_keys), spec=action_spec, action_space="categorical")
    loss = DQNLoss(actor, delay_value=True, double_dqn=True, action_space="categorical")
    loss.make_value_estimator(gamma=discount)
    return actor, loss


def train_dqn(
    env: EnvBase,
    policy: CategoricalPolicy,
    *,
    total_frames: int,
    frames_per_checkpoint: int,
    learning_rate: float = 5e-4,
    batch_size: int = 128,
    discount: float = 0.99,
    frames_per_update: int = 4,
    frames_per_batch: int = 64,
    replay_size: int = 100_000,
    warmup_frames: int = 2_000,
    target_rate: float = 5e-3,
    final_exploration: float = 0.05,
    exploration_fraction: float = 0.3,
) -> Iterator[int]:
    """Train the network of a Boltzmann policy to predict Q-values; the policy is changed in place.

    Args:
        env: Batched environment.
        policy: Policy whose network's outputs become Q-values, in the environment's units of return.
        total_frames: Number of environment steps in all.
        frames_per_checkpoint: Number of environment steps between two yields.
        learning_rate: Learning rate of Adam.
        batch_size: Number of transitions in an update.
        discount: Discount factor γ.
        frames_per_update: Number of environment steps for each gradient step.
        frames_per_batch: Number of environment steps that are collected at a time, in all environments together.
        replay_size: Number of transitions that the replay buffer holds.
        warmup_frames: Number of environment steps before the first update.
        target_rate: Rate τ of the target network's moving average.
        final_exploration: Share ε of random actions at the end of its linear decay from 1.
        exploration_fraction: Share of total_frames over which ε decays.

    Yields:
        The number of environment steps made, so that the caller can evaluate and save the policy on the way.
    """
    # networks and optimiser
    action_spec = env.action_spec_unbatched
    explore = EGreedyModule(action_spec, 1.0, final_exploration, int(exploration_fraction * total_frames))
    actor, loss = make_dqn(policy, action_spec, discount)
    target = SoftUpdate(loss, tau=target_rate)
    optimizer = Adam(loss.parameters(), lr=learning_rate)

    # replay buffer and collector
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(replay_size), batch_size=batch_size)
    robot = TensorDictSequential(actor, explore)  # pyright: ignore
    collector = Collector(
        env,
        robot,
        frames_per_batch=frames_per_batch,
        total_frames=total_frames,
        auto_register_policy_transforms=False,  # the policy has no memory to reset
    )

    frames = 0
    for batch in collector:
        # record
        explore.step(batch.numel())
        replay.extend(batch.select(*policy.in_keys, "action", "next").reshape(-1))
        previous, frames = frames, frames + batch.numel()

        # learn
        if frames >= warmup_frames:
            for _ in range(batch.numel() // frames_per_update):
                optimizer.zero_grad()
                loss(replay.sample())["loss"].backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), MAX_GRADIENT_NORM)
                optimizer.step()
                target.step()

        # let the caller evaluate
        if frames // frames_per_checkpoint > previous // frames_per_checkpoint:
            yield frames

    collector.shutdown(close_env=False)
