"""Policies that return torch distributions, and their checkpoints."""

from mile.policies.categorical import CategoricalPolicy
from mile.policies.checkpoint import CheckpointError, describe_checkpoint, find_checkpoint, load_policy, save_policy
from mile.policies.chunk import ChunkPolicy
from mile.policies.conditioned import ConditionedPolicy
from mile.policies.flow import FlowPolicy
from mile.policies.flow_matching import FlowMatchingPolicy
from mile.policies.gaussian import GaussianPolicy
from mile.policies.mixture import MixturePolicy
from mile.policies.policy import Perceptron, Policy
from mile.policies.residual import ResidualPolicy

__all__ = [
    "CategoricalPolicy",
    "CheckpointError",
    "ChunkPolicy",
    "ConditionedPolicy",
    "FlowMatchingPolicy",
    "FlowPolicy",
    "GaussianPolicy",
    "MixturePolicy",
    "Perceptron",
    "Policy",
    "ResidualPolicy",
    "describe_checkpoint",
    "find_checkpoint",
    "load_policy",
    "save_policy",
]
