"""Recorded data: the buffer on disk and the batches made from it."""

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.intervention import InterventionDataModule
from mile.datamodules.replay import ReplayDataModule
from mile.datamodules.schema import BufferError

__all__ = ["BufferError", "InterventionBuffer", "InterventionDataModule", "ReplayDataModule"]
