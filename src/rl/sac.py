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

OUTCOME = ("observation", "reward", "terminated", "truncated", "done")
KEYS = ("observation", "action", *(("next", name) for name in OUTCOME))  # of a transition


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
    """Train a Gaussian policy by SAC or RLPD; it is changed in place.

    The reward becomes r / max_reward − 1, at most 0: an episode ends on success, and an agent that is paid for each
    step would rather not succeed. RLPD's critics begin at the value of never succeeding: at 0, the best there is, all
    that is unknown would look better than what was demonstrated.

    Args:
        env: batched environment.
        policy: with `squash=True`.
        total_frames: environment steps in all.
        frames_per_checkpoint: yield after so many environment steps.
        max_reward: the most that a step can pay: 10 with Meta-World's shaped reward, 1 with success alone.
        demonstrate: half of each batch is drawn from these demonstrations (symmetric sampling, as in RLPD).
        learning_rate: of Adam.
        batch_size: transitions an update.
        discount: γ.
        updates_per_frame: gradient steps for each environment step; RLPD's actor takes one an environment step.
        frames_per_batch: environment steps between visits to the collector.
        replay_size: transitions kept.
        warmup_frames: random environment steps before the first update; not counted.
        target_rate: τ of the target networks' moving average.
        rlpd: with RLPD's losses.

    Yields:
        The number of environment steps made, so that the caller can evaluate and save the policy on the way.

    Raises:
        ValueError: the policy is not squashed, or RLPD is to make a part of an update for each environment step.
    """
    if rlpd and (updates_per_frame < 1 or updates_per_frame % 1):
        raise ValueError(f"RLPD's updates_per_frame must be a whole number from 1 on, got {updates_per_frame}")
    scaled = TransformedEnv(env, RewardScaling(loc=-1.0, scale=1 / max_reward))
    copies = env.batch_size.numel()
    replay = _replay(replay_size, batch_size if demonstrate is None else batch_size - batch_size // 2)
    replay.extend(scaled.rollout(warmup_frames // copies, break_when_any_done=False).select(*KEYS).reshape(-1))
    shown = None
    if demonstrate is not None:
        steps = demonstrate(env)
        demonstrations = for_torchrl(steps, steps["next", "reward"] / max_reward - 1)
        shown = _replay(len(demonstrations), batch_size // 2)
        shown.extend(demonstrations)

    def draw() -> TensorDictBase:
        return replay.sample() if shown is None else torch.cat([replay.sample(), shown.sample()])  # pyright: ignore

    policy.normalizer.fit(torch.cat([it[:]["observation"] for it in (replay, shown) if it is not None]))
    if rlpd:
        loss = RLPDLoss(policy, env.action_spec_unbatched, discount=discount, initial_value=-1 / (1 - discount))
    else:
        loss = make_sac(policy, env.action_spec_unbatched, discount)
    target = SoftUpdate(loss, tau=target_rate)
    optimizer = Adam(loss.parameters(), lr=learning_rate, fused=rlpd)

    def descend(value: Tensor) -> None:
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    collector = Collector(
        scaled,
        loss.actor_network,
        frames_per_batch=frames_per_batch,
        total_frames=total_frames,
        auto_register_policy_transforms=False,  # the policy has no memory to reset
    )
    frames = 0
    for batch in collector:
        replay.extend(batch.select(*KEYS).reshape(-1))
        before, frames = frames, frames + batch.numel()
        for update in range(1, 1 + int(batch.numel() * updates_per_frame)):
            drawn = draw()
            if isinstance(loss, RLPDLoss):
                descend(loss.critic_loss(drawn))
                if update % int(updates_per_frame) == 0:
                    of_actor, of_temperature = loss.policy_loss(drawn)
                    descend(of_actor + of_temperature)
            else:
                terms = loss(drawn)
                descend(terms["loss_actor"] + terms["loss_qvalue"] + terms["loss_alpha"])
            target.step()
        if frames // frames_per_checkpoint > before // frames_per_checkpoint:
            yield frames
    collector.shutdown(close_env=False)


def _replay(size: int, batch_size: int) -> TensorDictReplayBuffer:
    return TensorDictReplayBuffer(storage=LazyTensorStorage(size), batch_size=batch_size)
