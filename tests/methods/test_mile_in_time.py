"""MILE with people in time: what batches know of their attempts, and what is learnt from them."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback, Rounds
from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.humans import Decision, Human, SimulatedHuman
from mile.methods import MILE
from mile.timing import Accumulating, Attempts, Believing, Delayed, Gap, Memoryless, Sticky, Tired
from mile.timing.believing import stack_hypotheses
from tests.methods.training import ENVIRONMENTS
from tests.support import quiet_trainer, same_weights

TIMINGS = {
    "memoryless": Memoryless(),
    "sticky": Sticky(release_cost=0.3),
    "delayed": Delayed(release_cost=0.3, median_delay=2.0, longest_delay=8),
    "accumulating": Accumulating(release_cost=0.3),
    "believing": Believing(release_cost=0.3),
    "tired": Tired(cost_per_step=0.1),
}
IN_TIME = [name for name in TIMINGS if name != "memoryless"]
COST, SCALE = 1.0, 2.0


def method_for(env, timing, seed=0, **settings):
    """Return a method with small random networks."""
    torch.manual_seed(seed)
    policies = make_policy(env, hidden_dims=(8,)), make_policy(env, hidden_dims=(8,))
    for policy in policies:
        policy.normalizer.fit(torch.tensor([[3.0, 0.0], [40.0, 40.0]]))
    return MILE(*policies, COST, SCALE, timing=timing, **settings)


class NowAndThen(Human):
    """A human who takes over for three steps and lets the robot act for three."""

    def decide(self, step):
        intervened = step["observation"][..., 1] // 3 % 2 == 1
        discrete = step["human_noise"].shape[-1] == 2
        action = torch.full(intervened.shape, 4) if discrete else step["human_noise"][..., 1:] - 0.5
        return Decision(intervened, action, torch.full(intervened.shape, torch.nan))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Environments and what was recorded in them, by name."""
    return {name: deployed(tmp_path_factory.mktemp("data"), name) for name in ENVIRONMENTS}


def deployed(folder, name):
    """Return an environment, and a data module with three recorded episodes in each of two rounds."""
    torch.manual_seed(1)
    env = make_env(name, num_envs=2)
    robot = make_policy(env, hidden_dims=(8,))
    watched = TransformedEnv(env, InterventionTransform(NowAndThen()))
    data = InterventionDataModule(folder / "buffer", name, batch_size=16, seed=3)
    for number in range(2):
        numbers = [3 * number, 3 * number + 1, 3 * number + 2]
        collect_episodes(watched, robot, numbers, seed=5, deployment_round=number, on_episode=data.buffer.append)
    return env, data


def recorded(data):
    """Return all recorded steps, in double precision."""
    steps = data.buffer.steps[: len(data.buffer)]
    return steps.apply(lambda value: value.double() if value.is_floating_point() else value)


def serve(data, method):
    """Return an epoch's batches for a method as one."""
    data.trainer = SimpleNamespace(global_rank=0, world_size=1, lightning_module=method)
    batches = list(data.batches())
    data.trainer = None
    return torch.cat(batches)


def attempt_of(data, episode):
    """Return the steps of one recorded episode, as an attempt `[1, T]`."""
    steps = data.buffer.steps
    return steps[(steps["episode"] == episode).nonzero().squeeze(-1)].unsqueeze(0)


# what a batch knows of attempts


@pytest.mark.parametrize("name", IN_TIME)
def test_a_batch_has_what_its_steps_must_know_of_their_own_attempts(recordings, name):
    """Against each attempt by itself, without padding and without the other rounds."""
    env, data = recordings["CountingBox-v0"]
    method = method_for(env, TIMINGS[name])
    served = serve(data, method)
    assert len(served) >= len(data.buffer.steps)
    data.rounds = [1]
    later = serve(data, method)
    data.rounds = None
    assert set(later["round"].tolist()) == {1}
    for batch in (served, later):
        for episode in set(batch["episode"].tolist()):
            rows = (batch["episode"] == episode).nonzero().squeeze(-1)
            for entry, truth in by_hand(method, attempt_of(data, episode)).items():
                torch.testing.assert_close(batch["context", entry][rows], truth[0, batch["step"][rows]])


@torch.no_grad()
def by_hand(method, attempt):
    """Return what the timing model says of one attempt, asked directly."""
    timing, observation = method.timing, attempt["observation"]
    policy, expected = method.policy(observation), method.mental_model(observation)
    if isinstance(timing, Believing):
        uniform = torch.distributions.Normal(torch.zeros_like(policy.mean), torch.full_like(policy.mean, 3**-0.5))
        expected = stack_hypotheses([expected, policy, torch.distributions.Independent(uniform, 1)])
    nu = attempt["intervened"]
    attempts = Attempts(nu, torch.ones_like(nu), attempt["executed_action"])
    return timing.context(lambda: Gap(policy, expected, SCALE), attempts, COST)


def test_silent_steps_of_a_delayed_human_count_by_the_probability_that_nothing_was_decided(recordings):
    env, data = recordings["CountingBox-v0"]
    served = serve(data, method_for(env, TIMINGS["delayed"]))
    content, intervened = served["context", "content"], served["intervened"]
    assert (content[intervened] == 0).all()
    assert ((content >= 0) & (content <= 1)).all()
    assert 0 < content[~intervened].min() < 1


def test_a_memoryless_method_is_served_nothing_more(recordings):
    env, data = recordings["Counting-v0"]
    assert "context" not in serve(data, method_for(env, None)).keys()


@pytest.mark.parametrize("name", ["delayed", "accumulating", "believing"])
def test_the_context_is_new_in_every_epoch_and_changes_as_the_networks_do(recordings, name):
    env, data = recordings["CountingBox-v0"]
    method = method_for(env, TIMINGS[name])
    first, second = (ordered(serve(data, method)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1)
    assert (ordered(serve(data, method)) - first).abs().max() > 1e-4


def ordered(batch):
    """Return the context of each step once, by episode and step, all in one matrix of numbers."""
    place = 1000 * batch["episode"] + batch["step"]
    first = torch.stack([(place == number).nonzero()[0, 0] for number in place.unique()])
    columns = []
    for _, value in sorted(batch["context"][first].items()):
        columns.append(value.double().reshape(len(first), -1))
    return torch.cat(columns, -1)


# what is learnt


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("name", IN_TIME)
def test_all_steps_together_have_the_gradient_of_the_exact_likelihood_of_attempts(recordings, name, box):
    """With a belief, the policy alone: how the mental model moves the belief itself is left out of an epoch."""
    env, data = recordings["CountingBox-v0" if box else "Counting-v0"]
    method = method_for(env, TIMINGS[name], intervention_weight=1.0).double()
    steps = recorded(data)
    networks = [method.policy] if name == "believing" else [method.policy, method.mental_model]
    parameters = [parameter for network in networks for parameter in network.parameters()]

    batch = steps.set("context", method.context(steps))
    by_step = torch.autograd.grad(method.loss(batch).intervention_loss * len(steps), parameters)
    total = torch.zeros(())
    for episode in set(steps["episode"].tolist()):
        attempt = steps[steps["episode"] == episode].unsqueeze(0)
        nu = attempt["intervened"]
        attempts = Attempts(nu, torch.ones_like(nu), attempt["executed_action"])
        total = total - method.timing.log_likelihood(method.gap(attempt), attempts, COST).sum()
    for one, other in zip(by_step, torch.autograd.grad(total, parameters), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


ALLOWED = [(name, "product", box) for name in TIMINGS for box in (False, True)]
for one in ("memoryless", "sticky"):  # where a step with ν=1 is due to one decision
    ALLOWED += [(one, "joint", False), (one, "joint", True), (one, "scaled", True)]


@pytest.mark.parametrize(("name", "likelihood", "box"), ALLOWED)
def test_every_timing_and_likelihood_learns(recordings, name, likelihood, box):
    env, data = recordings["CountingBox-v0" if box else "Counting-v0"]
    method = method_for(env, TIMINGS[name], likelihood=likelihood, silence_weight=0.1, spread=1.0)
    before = method_for(env, TIMINGS[name])
    steps, losses = data.buffer.steps[: len(data.buffer)], []
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for number in range(30):
        if number % 10 == 0:
            context = method.context(steps)
            batch = steps if context is None else steps.clone().set("context", context)
        terms = method.loss(batch)
        optimizer.zero_grad()
        terms.loss.backward()
        optimizer.step()
        losses.append(terms.loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.isfinite().all() for parameter in method.parameters())
    assert not same_weights(method.policy, before.policy)
    assert not same_weights(method.mental_model, before.mental_model)


def run(folder, ckpt_path=None, stop_after=None, name="CountingBox-v0"):
    """Two small rounds with a delayed human; returns the method and the trainer."""
    torch.manual_seed(0)
    env = make_env(name, num_envs=2)
    robot, belief, expert, human_belief = (make_policy(env, hidden_dims=(8,)) for _ in range(4))
    timing = TIMINGS["delayed"]
    human = TransformedEnv(env, InterventionTransform(SimulatedHuman(expert, human_belief, 20.0, SCALE, timing)))
    deployment = DeploymentCallback(human, num_rounds=2, episodes_per_round=2, epochs_per_round=3)
    if stop_after is not None:
        deployment.rounds = Rounds(stop_after, epochs=3)
    method = MILE(robot, belief, COST, SCALE, timing=timing, optimizer=partial(torch.optim.Adam, lr=1e-2))
    trainer = quiet_trainer(deployment)
    data = InterventionDataModule(folder / "buffer", name, batch_size=16, seed=3)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return method, trainer


def test_a_resumed_run_with_a_delayed_human_gives_the_same_weights_bit_for_bit(tmp_path):
    whole, _ = run(tmp_path / "whole")
    half, trainer = run(tmp_path / "halves", stop_after=1)
    assert not same_weights(whole, half)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = run(tmp_path / "halves", ckpt_path=tmp_path / "half.ckpt")
    assert same_weights(whole, resumed)


# predictions


@pytest.mark.parametrize("name", TIMINGS)
def test_predictions_have_the_likelihood_of_the_attempts(recordings, name):
    env, data = recordings["CountingBox-v0"]
    method = method_for(env, TIMINGS[name]).double()
    steps = recorded(data)
    prob = method.predict(steps)
    assert prob.shape == (len(steps),)
    for episode in set(steps["episode"].tolist()):
        rows = steps["episode"] == episode
        attempt = steps[rows].unsqueeze(0)
        nu = attempt["intervened"]
        attempts = Attempts(nu, torch.ones_like(nu), attempt["executed_action"])
        truth = method.timing.log_likelihood(method.gap(attempt), attempts, COST)
        own = torch.where(nu[0], prob[rows], 1 - prob[rows]).log().sum()
        torch.testing.assert_close(own, truth[0].detach(), atol=1e-4, rtol=1e-4)


# what is refused


@pytest.mark.parametrize("likelihood", ["joint", "scaled"])
@pytest.mark.parametrize("name", ["delayed", "accumulating", "believing"])
def test_likelihoods_that_need_one_decision_are_refused_elsewhere_in_one_line(name, likelihood):
    with pytest.raises(ValueError, match="choose likelihood=product") as error:
        method_for(make_env("CountingBox-v0"), TIMINGS[name], likelihood=likelihood)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"likelihood": "neither"}, "must be one of product, joint, scaled"),
        ({"likelihood": "scaled"}, "needs continuous actions of a diagonal Gaussian"),
        ({"timing": Sticky(release_cost=COST)}, "must be below the cost of taking over"),
        ({"timing": Believing(0.0, prior=(0.5, 0.5))}, "prior must have 3 weights"),
        ({"silence_weight": 1.0}, "needs the spread"),
        ({"silence_weight": 1.0, "spread": -1.0}, "needs the spread"),
        ({"policy_weight": -1.0}, "policy_weight must be at least 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        method_for(make_env("Counting-v0"), **({"timing": None} | settings))
    assert "\n" not in str(error.value)


def test_squashed_actions_go_with_neither_a_belief_nor_scaling():
    policy = make_policy(make_env("CountingBox-v0"), hidden_dims=(8,), squash=True)
    for settings in ({"timing": TIMINGS["believing"]}, {"likelihood": "scaled"}):
        with pytest.raises(ValueError, match="diagonal Gaussian") as error:
            MILE(policy, policy, COST, SCALE, **settings)
        assert "\n" not in str(error.value)


def test_torn_attempts_and_delays_beyond_every_attempt_are_refused_in_one_line(recordings):
    env, data = recordings["CountingBox-v0"]
    steps = data.buffer.steps[: len(data.buffer)]
    for timing, recording, message in (
        (TIMINGS["delayed"], steps[1:], "whole attempts are needed"),
        (Delayed(0.0, median_delay=100.0, longest_delay=200), steps, "no attempt has more than"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            method_for(env, timing).context(recording)
        assert "\n" not in str(error.value)
