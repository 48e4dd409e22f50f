"""Reinforcement learning: experts and initial policies, and the backbone of RLIF."""

from mile.rl.dqn import train_dqn
from mile.rl.sac import train_sac

__all__ = ["train_dqn", "train_sac"]
