"""For each rule a small task in which by its idea it must beat cloning of the human, and does."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict

from mile.methods import APO, EIL, HACO, PPL, PVP, AdvantageConditioned, HGDAgger, Residual
from mile.policies import CategoricalPolicy, ConditionedPolicy, ResidualPolicy

ACTIONS = 3


def recording(episodes, observations):
    """Return the steps of episodes, each a list of (state, robot_action, human_action or None), and their outcomes."""
    rows = []
    for number, (steps, success) in enumerate(episodes):
        for index, (state, robot_action, human_action) in enumerate(steps):
            last = index == len(steps) - 1
            following = state if last else steps[index + 1][0]
            rows.append(
                {
                    "observation": observations[state],
                    "robot_action": torch.tensor(robot_action),
                    "human_action": torch.tensor(-1 if human_action is None else human_action),
                    "intervened": torch.tensor(human_action is not None),
                    "round": torch.tensor(0),
                    "episode": torch.tensor(number),
                    "step": torch.tensor(index),
                    "next": {
                        "observation": observations[following],
                        "terminated": torch.tensor(last),
                        "success": torch.tensor(last and success),
                    },
                }
            )
    return torch.stack([TensorDict(row) for row in rows])


def initial_policy(observations):
    """Return a policy that acts with 0 in all states."""
    torch.manual_seed(0)
    policy = CategoricalPolicy(observations.shape[-1], ACTIONS, [32])
    with torch.no_grad():
        policy.network[-1].weight.mul_(0.1)
        policy.network[-1].bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    return policy


def learn(kind, steps, observations, updates=400, **settings):
    """Return the actions of the policy in all states, after so many updates."""
    torch.manual_seed(1)
    method = kind(observations, optimizer=partial(torch.optim.Adam, lr=1e-2), **settings)
    if getattr(method, "needs_attempts", None) is True:
        steps = steps.clone()
        steps["context"] = method.context(steps)
    weights = method.sampling_weights(steps)
    weights = torch.ones(len(steps)) if weights is None else weights
    optimizer = method.configure_optimizers()
    for index in range(updates):
        batch = steps[torch.multinomial(weights, 64, replacement=True)]
        optimizer.zero_grad()
        loss = method.loss(batch).loss
        loss.backward()
        optimizer.step()
        method.on_train_batch_end(loss, batch, index)
    return method.policy.act(observations).tolist()


def starting(kind, change=lambda policy: policy):
    """Return how to make a method whose policy is made of the initial one."""
    return lambda observations, **settings: kind(change(initial_policy(observations)), **settings)


cloning = starting(HGDAgger)


@pytest.mark.parametrize(("kind", "settings"), [(PPL, {"beta": 1.0}), (PVP, {}), (HACO, {})])
def test_what_the_human_replaced_is_bad_although_they_slip_into_it(kind, settings):
    """They do what the robot would have done in 40 % of the steps, and each of two better actions in 30 %."""
    observations = torch.eye(1)
    slips = [0] * 4 + [1] * 3 + [2] * 3
    steps = recording([([(0, 0, None), (0, 0, action)], True) for action in slips], observations)
    assert learn(cloning, steps, observations) == [0]
    assert learn(starting(kind), steps, observations, **settings)[0] in {1, 2}


@pytest.mark.parametrize("kind", [APO, EIL])
def test_the_mistake_was_made_before_the_human_took_over(kind):
    """In state 0 the robot's action 0 leads to state 1, where the human has to act, and its action 1 to state 2."""
    observations = torch.eye(3)
    mistakes = [([(0, 0, None), (1, 0, 2), (1, 0, 2)], True)] * 7
    successes = [([(0, 1, None), (2, 0, None)], True)] * 3
    steps = recording(mistakes + successes, observations)
    assert learn(cloning, steps, observations)[0] != 1
    assert learn(starting(kind), steps, observations, window=1)[0] == 1


def test_where_nobody_intervened_the_robot_was_right():
    """The two states look much alike, and the human acts in the second alone."""
    observations = torch.tensor([[1.0, -0.1], [1.0, 0.1]])
    steps = recording([([(0, 0, None), (1, 0, 1), (0, 0, None)], True)] * 20, observations)
    assert learn(cloning, steps, observations) == [1, 1]
    assert learn(starting(Residual, ResidualPolicy.of), steps, observations) == [0, 1]


def test_a_robot_that_succeeds_is_worth_learning_from():
    """In state 0 its action 1 succeeds at once and 0 never does; the human acts in state 1 alone."""
    observations = torch.eye(2)
    failures = [([(0, 0, None), (1, 0, None), (1, 0, 2), (1, 0, 2)], False)] * 6
    successes = [([(0, 1, None)], True)] * 4
    steps = recording(failures + successes, observations)
    assert learn(cloning, steps, observations)[0] != 1
    told = starting(AdvantageConditioned, ConditionedPolicy.of)
    assert learn(told, steps, observations, failure_steps=10) == [1, 2]
