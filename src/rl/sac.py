"""Soft actor-critic for continuous actions, with TorchRL's loss and replay buffer (App. B)."""

from collections.abc import Callable, Iterator

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.optim import Adam
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import EnvBase, RewardScaling, TransformedEnv
from torchrl.objectives import SoftUpdate

from mile.policies import GaussianPolicy
from mile.rl.rlpd import RLPDLoss, make_sac
from mile.transitions import for_torchrl

OUTCOME = ("reward", "terminated", "truncated", "done")


def train_sac(
    env: EnvBase,
    policy: GaussianPolicy,
    *,
    total_frames: int,
    frames_per_checkpoint: int,
    max_reward: float,
    demonstrate: Callable[[EnvBase], TensorDict] | None = None,
    learning_rate: float = 3e-4,
    batch_size: int = 256,
    discount: float = 0.99,
    updates_per_frame: float = 0.5,
    frames_per_batch: int = 64,
    replay_size: int = 1_000_000,
    warmup_frames: int = 5_120,
    target_rate: float = 5e-3,
    rlpd: bool = False,
) -> Iterator[int]:
    """Train a Gaussian policy by SAC or RLPD; the policy is changed in place.

    The reward becomes r / max_reward − 1, at most 0: an episode ends on success, and an agent that is paid for each
    step would rather not succeed. RLPD's critics begin at the value of never succeeding: at 0, the best there is, all
    that is unknown would look better than what was demonstrated.

    Args:
        env: Batched environment.
        policy: Policy with `squash=True`.
        total_frames: Number of environment steps in all.
        frames_per_checkpoint: Number of environment steps between two yields.
        max_reward: Highest reward of a step: 10 with Meta-World's shaped reward, 1 with success alone.
        demonstrate: Function that returns recorded demonstrations, from which half of each batch is then drawn
            (symmetric sampling, as in RLPD); None: no demonstrations.
        learning_rate: Learning rate of Adam.
        batch_size: Number of transitions in an update.
        discount: Discount factor γ.
        updates_per_frame: Number of gradient steps for each environment step; RLPD's actor takes one an environment
            step.
        frames_per_batch: Number of environment steps that are collected at a time, in all environments together.
        replay_size: Number of transitions that the replay buffer holds.
        warmup_frames: Number of random environment steps before the first update, not counted in total_frames.
        target_rate: Rate τ of the target networks' moving average.
        rlpd: Use RLPD's losses instead of plain SAC's.

    Yields:
        The number of environment steps made, so that the caller can evaluate and save the policy on the way.

    Raises:
        ValueError: The policy is not squashed, or RLPD is to make a part of an update for each environment step.
    """
    if rlpd and (updates_per_frame < 1 or updates_per_frame % 1):
        raise ValueError(f"RLPD's updates_per_frame must be a whole number from 1 on, got {updates_per_frame}")

    # random steps, with rewards of at most 0
    transition = (*policy.in_keys, "action", *(("next", name) for name in (*policy.in_keys, *OUTCOME)))
    scaled_env = TransformedEnv(env, RewardScaling(loc=-1.0, scale=1 / max_reward))
    num_envs = env.batch_size.numel()
    demonstrated_batch_size = 0 if demonstrate is None else batch_size // 2
    replay = _replay(replay_size, batch_size - demonstrated_batch_size)
    random_steps = scaled_env.rollout(warmup_frames // num_envs, break_when_any_done=False)
    replay.extend(random_steps.select(*transition).reshape(-1))
    sources = [replay]

    # demonstrations, with rewards on the same scale
    if demonstrate is not None:
        steps = demonstrate(env)
        demonstrations = for_torchrl(steps, policy.in_keys, steps["next", "reward"] / max_reward - 1)
        demonstration_replay = _replay(len(demonstrations), demonstrated_batch_size)
        demonstration_replay.extend(demonstrations)
        sources.append(demonstration_replay)

    # networks and optimiser
    policy.fit_normalizer(torch.cat([source[:].select(*policy.in_keys) for source in sources]))  # pyright: ignore
    if rlpd:
        worst_return = -1 / (1 - discount)  # of never succeeding
        loss = RLPDLoss(policy, env.action_spec_unbatched, discount=discount, initial_value=worst_return)
    else:
        loss = make_sac(policy, env.action_spec_unbatched, discount)
    target = SoftUpdate(loss, tau=target_rate)
    optimizer = Adam(loss.parameters(), lr=learning_rate, fused=rlpd)

    collector = Collector(
        scaled_env,
        loss.actor_network,
        frames_per_batch=frames_per_batch,
        total_frames=total_frames,
        auto_register_policy_transforms=False,  # the policy has no memory to reset
    )

    frames = 0
    for batch in collector:
        # record
        replay.extend(batch.select(*transition).reshape(-1))
        previous, frames = frames, frames + batch.numel()

        # learn
        for update in range(1, 1 + int(batch.numel() * updates_per_frame)):
            sample = _draw(sources)
            if isinstance(loss, RLPDLoss):
                _update_rlpd(loss, optimizer, sample, with_actor=update % int(updates_per_frame) == 0)
            else:
                terms = loss(sample)
                _descend(optimizer, terms["loss_actor"] + terms["loss_qvalue"] + terms["loss_alpha"])
            target.step()

        # let the caller evaluate
        if frames // frames_per_checkpoint > previous // frames_per_checkpoint:
            yield frames

    collector.shutdown(close_env=False)


def _replay(size: int, batch_size: int) -> TensorDictReplayBuffer:
    return TensorDictReplayBuffer(storage=LazyTensorStorage(size), batch_size=batch_size)


def _draw(sources: list[TensorDictReplayBuffer]) -> TensorDictBase:
    """Return a batch that is drawn from all replay buffers together."""
    parts = [source.sample() for source in sources]
    return parts[0] if len(parts) == 1 else torch.cat(parts)  # pyright: ignore


def _update_rlpd(loss: RLPDLoss, optimizer: Adam, batch: TensorDictBase, with_actor: bool) -> None:
    """Update the critics on a batch, and then, if wanted, the actor and the temperature."""
    _descend(optimizer, loss.critic_loss(batch))
    if with_actor:
        actor_loss, temperature_loss = loss.policy_loss(batch)
        _descend(optimizer, actor_loss + temperature_loss)


def _descend(optimizer: Adam, loss: Tensor) -> None:
    """Make one step of the optimiser down the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
