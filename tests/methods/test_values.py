"""PVP and HACO: values without a reward."""

import pytest
import torch

from mile.envs import make_env, make_policy
from mile.methods import HACO, PVP
from mile.methods.haco import takeover_cost
from mile.rl.critic import Critic
from tests.methods.training import ENVIRONMENTS, make, recorded, train

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


def number(tensor):
    return float(tensor.detach())


def value(critic, step, action):
    """Return Q of each network for one step, as numbers."""
    return [number(q) for q in critic(step, action)]


def taken(step):
    return step["human_action"] if step["intervened"] else step["robot_action"]


@BOTH
def test_a_target_is_the_discounted_least_value_of_what_follows(name):
    env, steps = recorded(name)
    method = make(PVP, env, squash="Box" in name, discount=0.9)
    critic = method.critic
    steps["next", "terminated"][3] = True
    target = critic.target(steps)
    for index, step in enumerate(steps):
        mode = method.policy.act(step["next", "observation"])
        expected = 0.9 * min(number(q) for q in critic(step["next"], mode))
        assert float(target[index]) == pytest.approx(0.0 if step["next", "terminated"] else expected, abs=1e-5)


def test_the_average_follows_at_its_rate():
    policy = make_policy(make_env("CountingBox-v0"), hidden_dims=(8,), squash=True)
    critic = Critic(policy, target_rate=0.25)
    weight = critic.networks["critics"].networks[0].network[0].weight
    moving = critic.average.module["critics"].networks[0].network[0].weight
    critic.update_average()
    before = moving.clone()
    with torch.no_grad():
        weight += 1
    critic.update_average()
    torch.testing.assert_close(moving, 0.75 * before + 0.25 * weight.detach())
    assert moving is not weight


@BOTH
def test_pvp_step_by_step(name):
    env, steps = recorded(name)
    method = make(PVP, env, squash="Box" in name, bound=0.7)
    steps["context"] = method.context(steps)
    loss, target = method.loss(steps), method.critic.target(steps)
    td, proxy = 0.0, 0.0
    previous = None
    for index, step in enumerate(steps):
        starts = bool(step["intervened"]) and not (previous is not None and previous["intervened"] and step["step"] > 0)
        for q in value(method.critic, step, taken(step)):
            td += 0 if starts else 0.5 * (q - float(target[index])) ** 2
            proxy += (q - 0.7) ** 2 if step["intervened"] else 0
        for q in value(method.critic, step, step["robot_action"]):
            proxy += (q + 0.7) ** 2 if step["intervened"] else 0
        previous = step
    assert number(loss.td_loss) == pytest.approx(td / len(steps), rel=1e-4)
    assert number(loss.proxy_loss) == pytest.approx(proxy / len(steps), rel=1e-4)

    # as published: a mean, times the share of ν=1
    released = make(PVP, env, squash="Box" in name, bound=0.7, mask="released")
    everywhere = 0.0
    for step in steps:
        everywhere += sum((q - 0.7) ** 2 for q in value(released.critic, step, taken(step)))
        everywhere += sum((q + 0.7) ** 2 for q in value(released.critic, step, step["robot_action"]))
    share = float(steps["intervened"].float().mean())
    assert number(released.loss(steps).proxy_loss) == pytest.approx(share * everywhere / len(steps), rel=1e-4)


def test_what_a_takeover_costs():
    onset = torch.tensor([True, True, False])
    human = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    robot = torch.tensor([[1.0, 0.0], [3.0, 0.0], [-1.0, 0.0]])
    assert takeover_cost(human, robot, onset).tolist() == [0, 1, 0]
    assert takeover_cost(torch.tensor([1, 2, 0]), torch.tensor([1, 0, 1]), onset).tolist() == [0, 1, 0]


@BOTH
def test_haco_prefers_the_human_and_fears_takeovers(name):
    env, steps = recorded(name)
    method = make(HACO, env, squash="Box" in name, human_weight=0.5)
    steps["context"] = method.context(steps)
    loss = method.loss(steps)
    gain = 0.0
    for step in steps[steps["intervened"]]:
        gain += sum(value(method.critic, step, taken(step))) - sum(value(method.critic, step, step["robot_action"]))
    assert number(loss.advantage) == pytest.approx(gain / len(steps), rel=1e-4, abs=1e-6)
    total = loss.td_loss - 0.5 * loss.advantage + loss.takeover_loss + loss.actor_loss
    torch.testing.assert_close(loss.loss, total)


@BOTH
@pytest.mark.parametrize("kind", [PVP, HACO])
def test_values_are_learnt(tmp_path, kind, name):
    method, trainer = train(tmp_path, kind, name)
    assert trainer.global_step > 0
    assert all(weight.isfinite().all() for weight in method.parameters())
    assert int(method.critic.average.n_averaged) == trainer.global_step
