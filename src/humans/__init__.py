"""Humans who oversee the robot."""

from mile.humans.human import Decision, Human
from mile.humans.simulated import SimulatedHuman

__all__ = ["Decision", "Human", "SimulatedHuman"]
