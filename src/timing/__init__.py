"""Models of humans in time: how what a person does in one step hangs together with the steps before."""

from mile.timing.accumulating import Accumulating
from mile.timing.believing import Believing
from mile.timing.delayed import Delayed, decided_probs, delayed_log_likelihood
from mile.timing.fit import HumanFit, fit_human
from mile.timing.likelihood import HumanLikelihood, People
from mile.timing.memoryless import Memoryless
from mile.timing.model import Attempts, Gap, TimingModel
from mile.timing.search import HumanSearch
from mile.timing.sticky import Sticky, sticky_log_likelihood
from mile.timing.tired import Tired

__all__ = [
    "Accumulating",
    "Attempts",
    "Believing",
    "Delayed",
    "Gap",
    "HumanFit",
    "HumanLikelihood",
    "HumanSearch",
    "Memoryless",
    "People",
    "Sticky",
    "TimingModel",
    "Tired",
    "decided_probs",
    "delayed_log_likelihood",
    "fit_human",
    "sticky_log_likelihood",
]
