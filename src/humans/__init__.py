"""Humans who oversee the robot."""

from mile.humans.human import Decision, Discarded, Human
from mile.humans.person import Person
from mile.humans.simulated import SimulatedHuman

__all__ = ["Decision", "Discarded", "Human", "Person", "SimulatedHuman"]
