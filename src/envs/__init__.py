"""Environments, and the human between them and the collector."""

from mile.envs.intervention_transform import InterventionTransform
from mile.envs.make import make_env, make_policy, policy_kind

__all__ = ["InterventionTransform", "make_env", "make_policy", "policy_kind"]
