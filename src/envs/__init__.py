"""Environments, and the human between them and the collector."""

from mile.envs.intervention_transform import InterventionTransform
from mile.envs.make import ScheduledEnv, make_env, make_policy, observed_by, policy_kind, schedule_of

__all__ = [
    "InterventionTransform",
    "ScheduledEnv",
    "make_env",
    "make_policy",
    "observed_by",
    "policy_kind",
    "schedule_of",
]
