"""EIL's three sets of steps, and its hinges."""

import pytest
import torch

from mile.envs import make_env, make_policy
from mile.methods import EIL
from mile.methods.eil import Quality, qualities
from tests.methods.training import ENVIRONMENTS, make, recorded
from tests.support import marked

GOOD, BAD, HUMAN, _ = Quality


def test_the_sets_of_steps():
    steps = marked([0, 0, 0, 1, 1, 1, 0, 0], [0, 0])
    assert qualities(steps, 2).tolist() == [GOOD, BAD, BAD, BAD, BAD, HUMAN, GOOD, GOOD, GOOD, GOOD]
    assert qualities(steps, 0).tolist() == [GOOD, GOOD, GOOD, HUMAN, HUMAN, HUMAN, GOOD, GOOD, GOOD, GOOD]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_hinges_step_by_step(name):
    env, steps = recorded(name)
    method = make(EIL, env, squash="Box" in name, margin=0.5, human_weight=2.0, window=1)
    steps["context"] = method.context(steps)
    loss = method.loss(steps)

    good, bad, human = 0.0, 0.0, 0.0
    for step in steps:
        quality = step["context", "quality"]
        action = step["human_action"] if step["intervened"] else step["robot_action"]
        cost = float(method.cost(step, action).detach())
        if quality == GOOD:
            good += max(0.0, cost + 0.5)
        elif quality == BAD:
            bad += max(0.0, 0.5 - cost)
        else:
            if "Box" in name:
                others = [method.policy.act(step["observation"]), step["robot_action"]]
            else:
                others = [torch.tensor(number) for number in range(env.action_spec_unbatched.n)]
            for other in others:
                if "Box" in name or other != action:
                    human += max(0.0, cost - float(method.cost(step, other).detach()) + 0.5)
    count = len(steps)
    assert float(loss.good_loss.detach()) == pytest.approx(good / count, rel=1e-4)
    assert float(loss.bad_loss.detach()) == pytest.approx(bad / count, rel=1e-4)
    assert float(loss.human_loss.detach()) == pytest.approx(human / count, rel=1e-4)
    total = loss.good_loss + loss.bad_loss + 2 * loss.human_loss + loss.actor_loss
    torch.testing.assert_close(loss.loss, total)
    assert (float(loss.actor_loss.detach()) == 0) == ("Box" not in name)


def test_the_actor_goes_down_the_slope_of_the_cost_and_leaves_the_cost_alone():
    env, steps = recorded("CountingBox-v0")
    method = make(EIL, env, squash=True)
    steps["context"] = method.context(steps)
    actor_loss = method.loss(steps).actor_loss
    grads = torch.autograd.grad(actor_loss, list(method.critic.network.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in grads)

    optimizer = torch.optim.SGD(method.policy.parameters(), 0.1)
    before = float(actor_loss.detach())
    for _ in range(20):
        optimizer.zero_grad()
        method.loss(steps).actor_loss.backward()
        optimizer.step()
    assert float(method.loss(steps).actor_loss.detach()) < before


def test_continuous_actions_must_be_bounded():
    with pytest.raises(ValueError, match="squash=True"):
        EIL(make_policy(make_env("CountingBox-v0")))
