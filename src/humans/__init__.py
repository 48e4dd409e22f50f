"""Humans who oversee the robot."""

from mile.humans.human import Decision, DiscardedError, Human
from mile.humans.person import Person
from mile.humans.simulated import HesitantHuman, SimulatedHuman
from mile.humans.spectator import Spectator

__all__ = ["Decision", "DiscardedError", "HesitantHuman", "Human", "Person", "SimulatedHuman", "Spectator"]
