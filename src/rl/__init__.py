"""Reinforcement learning, for the ingredients of the simulated experiments."""

from mile.rl.checkpoints import pretrain
from mile.rl.dqn import train_dqn
from mile.rl.sac import train_sac

__all__ = ["pretrain", "train_dqn", "train_sac"]
