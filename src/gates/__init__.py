"""When a robot asks for help, and which robot of a fleet a human attends."""

from mile.gates.aim import AIMGate
from mile.gates.fleet import FleetAttention
from mile.gates.gate import AlwaysGate, Gate, ScoreGate
from mile.gates.scores import Chance, InterventionProbability, ProxyValue, Risk, Score, Variance
from mile.gates.thrifty import ThriftyGate

__all__ = [
    "AIMGate",
    "AlwaysGate",
    "Chance",
    "FleetAttention",
    "Gate",
    "InterventionProbability",
    "ProxyValue",
    "Risk",
    "Score",
    "ScoreGate",
    "ThriftyGate",
    "Variance",
]
