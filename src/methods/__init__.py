"""Methods that learn from interventions, each a LightningModule."""

from mile.methods.mile import MILE

__all__ = ["MILE"]
