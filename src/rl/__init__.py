"""Reinforcement learning that makes initial policies and experts (App. B)."""

from mile.rl.dqn import pretrain_dqn, train_dqn

__all__ = ["pretrain_dqn", "train_dqn"]
