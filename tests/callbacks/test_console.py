"""What the console shows and what is recorded: p(ν_t=1) given ν before t, of the module that is trained."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import ConsoleCallback, DeploymentCallback
from mile.collection import collect_episodes
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import Person
from mile.humans.keymaps import keymap_for
from mile.methods import MILE, BCIntervention, HGDAgger
from mile.timing import Accumulating, Believing, Delayed, Memoryless, Sticky, Tired
from tests.humans.script import Script
from tests.support import act_by_step

MODELS = {
    "memoryless": Memoryless(),
    "sticky": Sticky(release_cost=-1.0),
    "delayed": Delayed(release_cost=-1.0, median_delay=2.0, longest_delay=5),
    "accumulating": Accumulating(release_cost=-1.0, leak=0.3),
    "believing": Believing(release_cost=-1.0, memory=0.9),
    "tired": Tired(cost_per_step=0.3),
}
TAKES_OVER = [(), ("Digit3",), ("Digit3",), (), (), ("Digit5",), ()] * 6


def mile(env, timing):
    torch.manual_seed(0)
    return MILE(make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,)), 0.5, 1.0, timing=timing)


def play(method, script, episodes=2):
    """Return the steps of a person whose console shows a method's predictions, as `ConsoleCallback` has it shown."""
    env = make_env("Counting-v0")
    keymap = keymap_for("Counting-v0", env.action_spec_unbatched)
    person = Person(script, lambda: np.zeros((4, 4, 3), np.uint8), keymap, rate=1000)
    supervised = TransformedEnv(env, InterventionTransform(person))
    deployment = DeploymentCallback(supervised, num_rounds=1, episodes_per_round=episodes, epochs_per_round=1)
    buffer = SimpleNamespace(recorded=lambda number: set())
    trainer = SimpleNamespace(callbacks=[deployment], datamodule=SimpleNamespace(buffer=buffer))
    ConsoleCallback(person).setup(trainer, method, "fit")
    deployment.round = 0
    return collect_episodes(supervised, act_by_step, episodes, seed=0)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_shown_and_recorded_is_the_prediction_given_the_steps_before(name):
    method, script = mile(make_env("Counting-v0"), MODELS[name]), Script(TAKES_OVER)
    steps = play(method, script)
    assert steps["intervened"].any()
    assert len(steps["episode"].unique()) == 2
    torch.testing.assert_close(steps["intervention_prob"], method.predict(steps).float(), atol=1e-6, rtol=1e-5)

    shown = {}
    for status, _ in script.shown:
        if status["phase"] == "playing":
            shown[len(shown)] = status["prob"]
    expected = [round(prob, 3) for prob in steps["intervention_prob"].tolist()]
    assert list(shown.values()) == pytest.approx(expected, abs=1.1e-3)


def test_a_memory_makes_a_difference():
    env = make_env("Counting-v0")
    with_memory, without = (play(mile(env, MODELS[name]), Script(TAKES_OVER)) for name in ("sticky", "memoryless"))
    after = torch.zeros_like(with_memory["intervened"])
    after[1:] = with_memory["intervened"][:-1] & (with_memory["step"][1:] > 0)
    assert (with_memory["intervention_prob"] > without["intervention_prob"])[after].all()
    torch.testing.assert_close(with_memory["intervention_prob"][~after], without["intervention_prob"][~after])


@pytest.mark.parametrize("kind", ["mile", "bc_intervention"])
def test_without_a_memory_every_bit_is_that_of_the_state_alone(kind):
    env = make_env("Counting-v0")
    method = mile(env, None) if kind == "mile" else BCIntervention(make_policy(env, hidden_dims=(8,)))
    steps = play(method, Script(TAKES_OVER))
    alone = [method.intervention_prob(step.unsqueeze(0)) for step in steps]
    assert torch.equal(steps["intervention_prob"], torch.cat(alone).detach())


def test_an_episode_that_is_discarded_leaves_no_trace_in_what_is_predicted():
    method = mile(make_env("Counting-v0"), MODELS["delayed"])
    discarded = play(method, Script([(), (), ("Digit3",), *TAKES_OVER], commands={3: "discard"}))
    clean = play(method, Script(TAKES_OVER))
    assert torch.equal(discarded["intervened"], clean["intervened"])
    assert torch.equal(discarded["intervention_prob"], clean["intervention_prob"])


def test_a_method_without_a_prediction_shows_none():
    method = HGDAgger(make_policy(make_env("Counting-v0"), hidden_dims=(8,)))
    assert play(method, Script(TAKES_OVER))["intervention_prob"].isnan().all()
