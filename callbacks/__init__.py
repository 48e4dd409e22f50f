"""Callbacks: deployment rounds, evaluation, diagnostics, checkpoints, the progress bar."""

from mile.callbacks.checkpoint import RoundCheckpoint
from mile.callbacks.cloning_alone import CloningAloneCallback
from mile.callbacks.console import ConsoleCallback
from mile.callbacks.deployment import DeploymentCallback
from mile.callbacks.diagnostics import InterventionModelCallback
from mile.callbacks.estimators import EstimatorCallback
from mile.callbacks.evaluation import EvaluationCallback
from mile.callbacks.human import HumanCallback
from mile.callbacks.learning import LearningCallback
from mile.callbacks.progress import RoundProgressBar
from mile.callbacks.rounds import RoundCallback, Rounds
from mile.callbacks.showcase import ShowcaseCallback
from mile.callbacks.study import StudyCallback
from mile.callbacks.video import VideoCallback

__all__ = [
    "CloningAloneCallback",
    "ConsoleCallback",
    "DeploymentCallback",
    "EstimatorCallback",
    "EvaluationCallback",
    "HumanCallback",
    "InterventionModelCallback",
    "LearningCallback",
    "RoundCallback",
    "RoundCheckpoint",
    "RoundProgressBar",
    "Rounds",
    "ShowcaseCallback",
    "StudyCallback",
    "VideoCallback",
]
