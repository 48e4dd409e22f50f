import pytest
import torch

from mile.transitions import ENTRIES, TransitionError, check_transitions
from tests.support import episode


def test_collected_steps_are_as_described():
    steps = check_transitions(episode())
    assert set(steps.keys(True, True)) == set(ENTRIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda steps: steps.pop("intervened"), "lack"),
        (lambda steps: steps.set("mood", steps["step"]), "unknown"),
        (lambda steps: steps["next", "observation"].fill_(float("inf")), "must be finite"),
        (lambda steps: steps["human_action"].fill_(2), "exactly where 'intervened' is true"),
        (lambda steps: steps["intervened"].fill_(True), "exactly where 'intervened' is true"),
        (
            lambda steps: steps.update({"asked": steps["attended"], "attended": steps["asked"]}),
            "only where 'attended' is",
        ),
    ],
)
def test_steps_that_break_the_rules_are_refused(change, message):
    steps = episode()
    change(steps)
    with pytest.raises(TransitionError, match=message):
        check_transitions(steps)


def test_nan_marks_steps_without_a_continuous_human_action():
    steps = episode()
    absent = torch.full((len(steps), 2), torch.nan)
    steps["human_action"], steps["robot_action"] = absent, torch.zeros(len(steps), 2)
    check_transitions(steps)
    steps["intervened"] = torch.ones(len(steps), dtype=torch.bool)
    with pytest.raises(TransitionError, match="exactly where"):
        check_transitions(steps)
