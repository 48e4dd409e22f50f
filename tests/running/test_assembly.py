"""What an experiment is made of: callbacks name what they need, a learner may be wrong about its human."""

from dataclasses import fields
from inspect import signature
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

import mile.callbacks
from mile.running.assembly import Assembly, make_callbacks, make_timing
from mile.timing import Believing, Memoryless
from tests.support import composed

PARTS = {field.name for field in fields(Assembly)}


@pytest.mark.parametrize("name", mile.callbacks.__all__)
def test_what_a_callback_needs_is_a_part_of_an_experiment_and_an_argument_of_it(name):
    kind = getattr(mile.callbacks, name)
    needs = getattr(kind, "NEEDS", {})
    assert set(needs.values()) <= PARTS | {"references"}
    assert set(needs) <= set(signature(kind).parameters)


@pytest.fixture
def parts():
    made = Assembly(**dict.fromkeys(PARTS))
    assert made.person is None
    return made


def test_a_callback_gets_its_parts_whatever_it_is_called_in_the_config(parts):
    options = {"_target_": "mile.callbacks.EvaluationCallback", "num_episodes": 3, "seed": 0, "every_n_epochs": 1}
    references = {"expert": SimpleNamespace()}
    (callback,) = make_callbacks(OmegaConf.create({"any_name": options}), parts, references)
    assert callback.num_episodes == 3
    assert callback.references is references


def test_a_misspelt_option_of_a_callback_is_an_error(parts):
    options = {"_target_": "mile.callbacks.EvaluationCallback", "num_episode": 3, "seed": 0, "every_n_epochs": 1}
    with pytest.raises(TypeError, match="num_episode"):
        make_callbacks(OmegaConf.create({"evaluation": options}), parts, {})


def test_a_callback_that_needs_a_person_is_left_out_without_one(parts):
    options = {"_target_": "mile.callbacks.ConsoleCallback"}
    assert make_callbacks(OmegaConf.create({"console": options}), parts, {}) == []


def test_a_learner_may_be_wrong_about_what_its_human_believes():
    human = SimpleNamespace(timing=Believing(release_cost=3.0, prior=(0.8, 0.1, 0.1)))
    wrong = ["method.timing=believing", "timings.believing.prior=[0.1,0.1,0.8]"]
    timing = make_timing(composed("train", "experiment=lunarlander", *wrong), human, 9.0, 1.0)
    assert list(timing.prior) == [0.1, 0.1, 0.8]
    assert timing.release_cost == 3.0  # which nobody could guess

    # of a human of another kind it is put below the cost of taking over
    timing = make_timing(
        composed("train", "experiment=lunarlander", *wrong), SimpleNamespace(timing=Memoryless()), 9.0, 1.0
    )
    assert timing.release_cost == 9.0 - 4.0
