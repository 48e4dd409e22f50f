"""Cost and scale of a simulated human, from how often they are to intervene (Sec. V, App. D)."""

from mile.calibration.estimates import estimate_cost, estimate_spread
from mile.calibration.outcome import Calibration, describe
from mile.calibration.ratio import calibrate_cost
from mile.calibration.takeovers import calibrate_takeovers

__all__ = ["Calibration", "calibrate_cost", "calibrate_takeovers", "describe", "estimate_cost", "estimate_spread"]
