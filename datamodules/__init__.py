"""Recorded data: the buffer on disk and the batches made from it."""

from typing import TYPE_CHECKING, Any

from mile.datamodules.buffer import InterventionBuffer
from mile.datamodules.schema import BufferError

if TYPE_CHECKING:
    from mile.datamodules.intervention import InterventionDataModule
    from mile.datamodules.replay import ReplayDataModule

__all__ = ["BufferError", "InterventionBuffer", "InterventionDataModule", "ReplayDataModule"]


def __getattr__(name: str) -> Any:
    """Import a data module when it is first asked for: a buffer needs neither Lightning nor TorchRL."""
    if name == "InterventionDataModule":
        from mile.datamodules.intervention import InterventionDataModule

        return InterventionDataModule
    if name == "ReplayDataModule":
        from mile.datamodules.replay import ReplayDataModule

        return ReplayDataModule
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
