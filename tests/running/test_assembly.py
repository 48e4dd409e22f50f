"""Callbacks name what they need of an experiment."""

from dataclasses import fields
from inspect import signature
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

import mile.callbacks
from mile.running.assembly import Assembly, make_callbacks

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
