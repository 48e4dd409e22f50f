"""Methods that learn from interventions, each a LightningModule."""

from mile.methods.bc_intervention import BCIntervention
from mile.methods.hg_dagger import HGDAgger
from mile.methods.iwr import IWR
from mile.methods.method import Method
from mile.methods.mile import MILE
from mile.methods.rlif import RLIF
from mile.methods.sirius import Sirius

__all__ = ["IWR", "MILE", "RLIF", "BCIntervention", "HGDAgger", "Method", "Sirius"]
