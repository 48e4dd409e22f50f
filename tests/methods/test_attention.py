"""Silence of a robot that nobody watched is no consent, and a takeover that was asked for is no reproach."""

import pytest
import torch

from mile.datamodules.replay import intervention_rewards
from mile.envs import make_policy
from mile.methods import EIL, HACO, IWR, MILE, BCIntervention, Residual, Sirius
from mile.methods.eil import Quality, qualities
from mile.methods.haco import takeover_cost
from mile.methods.onsets import before_interventions, half_interventions
from mile.methods.sirius import StepClass, step_classes
from mile.timing import Sticky
from tests.methods.training import CLONING, ENVIRONMENTS, make, recorded
from tests.support import marked

#            fleet: attended from step 3 on   |  gate: asked for in steps 3 and 4
INTERVENED = [[0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0]]
ATTENDED = [[0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 1, 0, 0, 0]]
ASKED = [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0, 0, 0]]


def steps():
    recording = marked(*INTERVENED)
    for name, value in (("attended", ATTENDED), ("asked", ASKED)):
        recording[name] = torch.tensor(value).bool().flatten()
    return recording


def test_eils_sets():
    good, bad, human, unattended = Quality
    fleet = [unattended, unattended, unattended, bad, bad, human, good, unattended]
    gate = [unattended] * 3 + [human] * 2 + [unattended] * 3
    assert qualities(steps(), 1).tolist() == fleet + gate


def test_an_intervention_is_the_humans_own_or_not_by_how_it_began():
    good, bad, human, none = Quality
    recording = marked([0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 0])
    recording["attended"] = torch.tensor([0, 0, 1, 1, 1, 0] + [1] * 6).bool()
    recording["asked"] = torch.tensor([0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1]).bool()
    assert qualities(recording, 2).tolist() == [none, none, human, human, human, none, bad, bad, bad, bad, human, none]
    assert good not in qualities(recording, 2)


def test_sirius_classes_and_weights():
    before, human, robot, none = (
        StepClass.PRE_INTERVENTION,
        StepClass.INTERVENTION,
        StepClass.ROBOT,
        StepClass.NO_CONSENT,
    )
    classes = step_classes(steps(), 15)
    assert classes.tolist() == [none] * 3 + [before, human, human, robot, none] + [none] * 3 + [human] * 2 + [none] * 3
    weights = Sirius.loss_weights(make_sirius(), steps())
    assert weights[classes == none].sum() == 0
    assert float(weights.mean()) == pytest.approx(1.0)


def make_sirius():
    env, _ = recorded("Counting-v0")
    return make(Sirius, env)


def test_iwr_draws_interventions_and_attended_steps_half_and_half():
    weights = IWR.sampling_weights(None, steps())
    intervened, attended = steps()["intervened"], steps()["attended"]
    assert weights[~attended].sum() == 0
    assert weights[intervened].sum() == weights[attended & ~intervened].sum() == 2
    # values without a reproach travel through all steps
    assert (half_interventions(steps()) > 0).all()


def test_an_intervention_that_was_asked_for_says_nothing_of_the_steps_before():
    assert before_interventions(steps(), 15).nonzero().flatten().tolist() == [3]
    watched = steps().set("attended", torch.ones(16, dtype=torch.bool))
    assert before_interventions(watched, 2).nonzero().flatten().tolist() == [2, 3]


def test_rlif_punishes_what_a_human_objected_to():
    assert intervention_rewards(steps()).nonzero().flatten().tolist() == [3]


def test_haco_has_no_cost_of_being_helped_on_request():
    env, recording = recorded("Counting-v0")
    method = make(HACO, env)
    recording["context"] = method.context(recording)
    onset = recording["context", "onset"]
    cost = takeover_cost(recording["human_action"], recording["robot_action"], onset)
    assert cost.sum() > 0
    asked = recording.clone().set("asked", recording["intervened"])
    costly, free = method.loss(recording), method.loss(asked)
    values = method.critic(recording, torch.where(recording["intervened"], 4, recording["robot_action"]))
    target = method.critic.target(recording)
    expected = [0.5 * (values - (target - paid)).square().sum(0).mean() for paid in (cost, 0 * cost)]
    torch.testing.assert_close(costly.td_loss, expected[0])
    torch.testing.assert_close(free.td_loss, expected[1])


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.parametrize("kind", ["mile", "bc", "residual"])
def test_when_is_learnt_from_the_steps_in_which_the_human_decided(name, kind):
    """The loss of ν is that of these steps alone; in Eq. 3 both terms are sums, divided by the number of all steps."""
    env, recording = recorded(name)
    settings = {"mental_model": make_policy(env), "cost": 1.0, "scale": 2.0} if kind == "mile" else {}
    method = make({"mile": MILE, "bc": BCIntervention, "residual": Residual}[kind], env, **settings)
    directed = recording.clone()
    directed["attended"] = directed["step"] % 4 != 1
    directed["intervened"] &= directed["attended"]
    directed["asked"] = directed["intervened"] & (directed["step"] % 4 == 2)
    free = directed[directed["attended"] & ~directed["asked"]]
    assert 0 < len(free) < len(directed)
    share = len(free) / len(directed) if (kind, name) == ("mile", "Counting-v0") else 1.0
    torch.testing.assert_close(
        method.loss(directed).intervention_loss, share * method.loss(free).intervention_loss, rtol=1e-5, atol=1e-6
    )


def test_miles_silence_clones_attended_robots_alone():
    env, recording = recorded("Counting-v0")
    method = make(MILE, env, mental_model=make_policy(env), cost=1.0, scale=2.0, spread=0.1, silence_weight=1.0)
    nobody = recording.clone()
    nobody["attended"] = nobody["intervened"]
    assert method.loss(recording).silence_loss > 0
    assert method.loss(nobody).silence_loss == 0


def test_a_learner_in_time_refuses_steps_in_which_nobody_decided():
    env, recording = recorded("Counting-v0")
    method = make(MILE, env, mental_model=make_policy(env), cost=1.0, scale=2.0, timing=Sticky(release_cost=0.0))
    method.sampling_weights(recording)
    recording["asked"] = recording["intervened"]
    with pytest.raises(ValueError, match="timing=memoryless"):
        method.sampling_weights(recording)


@pytest.mark.parametrize("kind", [*CLONING, EIL])
def test_steps_that_do_not_say_were_attended_and_not_asked_for(kind):
    plain, said = marked(*INTERVENED), marked(*INTERVENED)
    said["attended"] = torch.ones(16, dtype=torch.bool)
    said["asked"] = torch.zeros(16, dtype=torch.bool)
    env, _ = recorded("Counting-v0")
    method = make(kind, env)
    for weights in (method.sampling_weights, method.loss_weights):
        first, second = weights(plain), weights(said)
        assert (first is None and second is None) or torch.equal(first, second)
    if kind is EIL:
        assert torch.equal(qualities(plain, 2), qualities(said, 2))
