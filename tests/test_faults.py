"""A short form of `make faults`."""

import pytest

from tests.faults import OTHERS, Faults


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    return Faults(tmp_path_factory.mktemp("faults"))


def test_kills_at_random_moments_cost_nothing(faults):
    faults.kills(2)


IN_SHORT = ("sigterm", "full_disk", "damaged_checkpoint", "two_runs", "flipped_bit")


@pytest.mark.parametrize(
    "fault", [fault for fault in OTHERS if fault.__name__ in IN_SHORT], ids=lambda fault: fault.__name__
)
def test_a_fault_is_survived_or_refused(faults, fault):
    fault(faults)
