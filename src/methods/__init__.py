"""One LightningModule a file: MILE, and what it is compared with."""

from mile.methods.advantage import AdvantageConditioned
from mile.methods.apo import APO
from mile.methods.bc_intervention import BCIntervention
from mile.methods.eil import EIL
from mile.methods.haco import HACO
from mile.methods.hg_dagger import HGDAgger
from mile.methods.iwr import IWR
from mile.methods.method import Method
from mile.methods.mile import MILE
from mile.methods.ppl import PPL
from mile.methods.pvp import PVP
from mile.methods.residual import Residual
from mile.methods.rlif import RLIF
from mile.methods.sirius import Sirius

__all__ = [
    "APO",
    "EIL",
    "HACO",
    "IWR",
    "MILE",
    "PPL",
    "PVP",
    "RLIF",
    "AdvantageConditioned",
    "BCIntervention",
    "HGDAgger",
    "Method",
    "Residual",
    "Sirius",
]
