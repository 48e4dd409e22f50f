"""Policies that return torch distributions, and their checkpoints."""

from mile.policies.categorical import CategoricalPolicy
from mile.policies.checkpoint import CheckpointError, describe_checkpoint, find_checkpoint, load_policy, save_policy
from mile.policies.gaussian import GaussianPolicy
from mile.policies.policy import Policy

__all__ = [
    "CategoricalPolicy",
    "CheckpointError",
    "GaussianPolicy",
    "Policy",
    "describe_checkpoint",
    "find_checkpoint",
    "load_policy",
    "save_policy",
]
