"""The cases of each baseline's rule, and what holds for all of them."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.callbacks import DeploymentCallback
from mile.collection import collect_episodes
from mile.datamodules import InterventionDataModule, ReplayDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.ingredients.cloning import clone_policy
from mile.ingredients.demonstrations import expert_episode
from mile.methods import IWR, MILE, RLIF, BCIntervention, HGDAgger, Method, Sirius
from mile.methods.sirius import StepClass, class_weights, step_classes
from mile.transitions import DEMONSTRATION
from tests.support import EveryThird, marked, same_weights

CLONING = [HGDAgger, IWR, Sirius]
BOTH = pytest.mark.parametrize("name", ["Counting-v0", "CountingBox-v0"])


class Never(EveryThird):
    """A human who watches."""

    def decide(self, observation, noise=None):
        decision = super().decide(observation, noise)
        return decision._replace(intervened=torch.zeros_like(decision.intervened))


def make(kind, env, seed=0, squash=False, **settings):
    torch.manual_seed(seed)
    policy = make_policy(env, hidden_dims=(8,), **({"squash": True} if squash else {}))
    return kind(policy, optimizer=partial(torch.optim.Adam, lr=1e-2), **settings)


def recorded(name, human=None, episodes=4):
    env = make_env(name, num_envs=2)
    supervised = TransformedEnv(env, InterventionTransform(human or EveryThird("Box" in name)))
    torch.manual_seed(1)
    return env, collect_episodes(supervised, make_policy(env, hidden_dims=(8,)), episodes)


def train(folder, kind, name="Counting-v0", human=None, rounds=2, stop_after=None, ckpt_path=None, demos=0, **data):
    """Rounds of two episodes; returns the method and the trainer."""
    env = make_env(name, num_envs=2)
    replay = kind is RLIF
    deployment = DeploymentCallback(
        TransformedEnv(env, InterventionTransform(human or EveryThird("Box" in name))),
        num_rounds=stop_after or rounds,
        episodes_per_round=2,
        epochs_per_round=1 if replay else 3,
    )
    module = (ReplayDataModule if replay else InterventionDataModule)(
        folder / "buffer", name, **({"batch_size": 16, "seed": 3} | data)
    )
    torch.manual_seed(2)
    for number in set(range(demos)) - module.buffer.recorded(DEMONSTRATION):
        module.buffer.append(expert_episode(env, make_policy(env, hidden_dims=(8,)), number, seed=9))
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        callbacks=[deployment],
    )
    method = make(kind, env, squash=replay and "Box" in name)
    trainer.fit(method, datamodule=module, ckpt_path=ckpt_path, weights_only=True)
    return method, trainer


# HG-DAgger


def test_hg_dagger_adds_exactly_the_steps_of_the_human():
    weights = HGDAgger.sampling_weights(None, marked([0, 0, 1, 1, 0]))
    assert weights.nonzero().flatten().tolist() == [2, 3]


@BOTH
def test_hg_dagger_learns_nothing_where_nobody_intervened(tmp_path, name):
    with pytest.warns(UserWarning, match="no interventions"):
        method, trainer = train(tmp_path, HGDAgger, name, Never("Box" in name))
    assert trainer.global_step == 0
    assert same_weights(method, make(HGDAgger, make_env(name)))
    assert trainer.current_epoch == 6


def test_hg_dagger_serves_the_steps_of_the_human_alone_and_all_equally_often(tmp_path):
    _, trainer = train(tmp_path, HGDAgger, rounds=1)
    data = trainer.datamodule
    data.trainer = trainer
    served = torch.cat(list(data.batches()))
    expected = data.buffer.steps[data.buffer.steps["intervened"]]
    rows, often = torch.stack([served["episode"], served["step"]], -1).unique(dim=0, return_counts=True)
    assert torch.equal(rows, torch.stack([expected["episode"], expected["step"]], -1).unique(dim=0))
    assert often.max() - often.min() <= 1  # the last batch is filled up by the next pass


def test_hg_dagger_is_behaviour_cloning_where_the_human_always_acts():
    """Against the cloning that makes the ingredients: same rows, same optimiser, same weights."""
    env, steps = recorded("CountingBox-v0")
    steps["human_action"], steps["intervened"] = steps["robot_action"] + 0.1, torch.ones_like(steps["intervened"])
    method, other = make(HGDAgger, env), make(HGDAgger, env).policy
    method.policy.normalizer.fit(steps["observation"])
    clone_policy(other, steps["observation"], steps["human_action"], steps=1, batch_size=64, learning_rate=1e-2)
    rows = torch.randint(len(steps), (64,), generator=torch.Generator().manual_seed(0))
    optimizer = method.configure_optimizers()
    method.loss(steps[rows]).loss.backward()
    optimizer.step()
    assert same_weights(method.policy, other)


# IWR


def test_iwr_draws_interventions_and_the_rest_half_and_half():
    weights = make(IWR, make_env("Counting-v0")).sampling_weights(marked([1] * 20 + [0] * 80))
    assert weights.unique().tolist() == [1, 4]
    drawn = torch.multinomial(weights, 10_000, replacement=True, generator=torch.Generator().manual_seed(0))
    assert (drawn < 20).double().mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("nu", [0, 1])
def test_iwr_falls_back_to_uniform(nu):
    assert make(IWR, make_env("Counting-v0")).sampling_weights(marked([nu] * 5)).tolist() == [1] * 5


def test_iwr_counts_demonstrations_as_no_interventions():
    steps = torch.cat([marked([1] * 5, round_=DEMONSTRATION), marked([1, 0, 0, 0, 0])])
    assert make(IWR, make_env("Counting-v0")).sampling_weights(steps).tolist() == [1] * 5 + [9] + [1] * 4


def test_the_data_module_draws_as_iwr_says(tmp_path):
    _, trainer = train(tmp_path, IWR, rounds=1, batch_size=1000, batches_per_epoch=20)
    trainer.datamodule.trainer = trainer
    served = torch.cat(list(trainer.datamodule.batches()))
    assert len(served) == 20_000  # many passes over what is recorded
    share = served["intervened"].double().mean()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / len(served))


# Sirius


def test_sirius_weighs_by_class():
    weights = class_weights(torch.tensor([0.10, 0.20, 0.05, 0.65], dtype=torch.float64), 0.5, 0.002)
    torch.testing.assert_close(weights, torch.tensor([1, 2.5, 0.04, 0.398 / 0.65], dtype=torch.float64))
    assert weights[3] == pytest.approx(0.612308, abs=1e-6)
    assert torch.dot(weights, torch.tensor([0.10, 0.20, 0.05, 0.65], dtype=torch.float64)) == pytest.approx(1)


def test_sirius_divides_by_no_absent_class():
    for shares in torch.eye(4, dtype=torch.float64):
        assert class_weights(shares, 0.5, 0.002).isfinite().all()
    full = class_weights(torch.tensor([0.6, 0.4, 0.0, 0.0], dtype=torch.float64), 0.5, 0.002)
    torch.testing.assert_close(full, torch.tensor([1, 1.25, 0, 0], dtype=torch.float64))  # robot: not below 0


def test_sirius_labels_the_steps_before_an_onset():
    classes = step_classes(marked([0] * 20 + [1] * 5), 15)
    assert (classes == StepClass.PRE_INTERVENTION).nonzero().flatten().tolist() == list(range(5, 20))
    assert (classes == StepClass.INTERVENTION).nonzero().flatten().tolist() == list(range(20, 25))


def test_sirius_stops_at_an_earlier_intervention_and_at_the_episode():
    classes = step_classes(marked([1, 0, 0, 1, 0, 0], [0, 0, 1]), 15)
    robot, before, taken = StepClass.ROBOT, StepClass.PRE_INTERVENTION, StepClass.INTERVENTION
    assert classes.tolist() == [taken, before, before, taken, robot, robot, before, before, taken]
    assert step_classes(marked([1, 1]), 15).tolist() == [taken, taken]


def test_sirius_tells_demonstrations_apart():
    steps = torch.cat([marked([1] * 3, round_=DEMONSTRATION), marked([0, 1])])
    demo = StepClass.DEMONSTRATION
    assert step_classes(steps, 15).tolist() == [demo] * 3 + [StepClass.PRE_INTERVENTION, StepClass.INTERVENTION]


# BC intervention


@BOTH
def test_the_gradient_of_the_bce_does_not_reach_the_policy(name):
    env, steps = recorded(name)
    method = make(BCIntervention, env)
    method.loss(steps).intervention_loss.backward()
    assert all(parameter.grad is None for parameter in method.policy.parameters())
    assert all(parameter.grad is not None for parameter in method.head.parameters())


@BOTH
def test_bc_intervention_without_interventions_has_no_nll(name):
    env, steps = recorded(name, Never("Box" in name))
    terms = make(BCIntervention, env).loss(steps)
    assert terms.policy_loss == 0
    assert terms.loss.isfinite()
    assert terms.loss.item() == pytest.approx(0.5 * terms.intervention_loss.item())


def test_the_head_learns_when_the_human_intervenes():
    env, steps = recorded("Counting-v0", episodes=20)
    steps["human_action"] = steps["robot_action"]
    steps["intervened"] = steps["observation"][:, 1] > 10  # late in an episode
    method = make(BCIntervention, env)
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-2)
    for _ in range(200):
        optimizer.zero_grad()
        method.loss(steps).intervention_loss.backward()
        optimizer.step()
    prob = method.intervention_prob(steps["observation"])
    assert not prob.requires_grad
    assert ((prob > 0.5) == steps["intervened"]).double().mean() > 0.95


# RLIF


@BOTH
@pytest.mark.parametrize(("failure", "value"), [("published", 0.0), ("absorbing", -4.0)])
def test_a_crash_is_worth_nothing_more_or_a_punishment_for_ever(name, failure, value):
    """At a true end the target is the reward alone, so that a crash is as good as a success paid with its value."""
    method = make(RLIF, make_env(name), squash="Box" in name, discount=0.75, failure=failure)
    crash = method.loss(transition(name, terminated=True, success=False))
    paid = method.loss(transition(name, terminated=True, success=True, reward=value))
    assert crash == paid
    assert (crash == method.loss(transition(name, terminated=True, success=True))) == (failure == "published")


@BOTH
@pytest.mark.parametrize("truncated", [False, True])
def test_what_goes_on_or_runs_out_of_time_is_no_crash(name, truncated):
    losses = []
    for failure in ("published", "absorbing"):
        method = make(RLIF, make_env(name), squash="Box" in name, failure=failure)
        torch.manual_seed(0)  # of the critics in the target
        losses.append(method.loss(transition(name, terminated=False, truncated=truncated, success=False)))
    assert losses[0] == losses[1]


def transition(name, *, terminated, success, truncated=False, reward=0.0):
    """One transition as `ReplayDataModule` serves it."""
    torch.manual_seed(3)
    flag = partial(torch.full, (1, 1))
    action = torch.zeros(1, 2) if "Box" in name else torch.zeros(1, dtype=torch.int64)
    following = {
        "observation": torch.ones(1, 2),
        "reward": flag(reward),
        "terminated": flag(terminated),
        "truncated": flag(truncated),
        "done": flag(terminated or truncated),
        "success": torch.tensor([success]),
    }
    return TensorDict({"observation": torch.ones(1, 2), "action": action, "next": TensorDict(following, [1])}, [1])


def test_only_known_ways_to_fail():
    with pytest.raises(ValueError, match="failure must be 'published' or 'absorbing', got 'crash'"):
        make(RLIF, make_env("Counting-v0"), failure="crash")


# all of them


@BOTH
@pytest.mark.parametrize("kind", [*CLONING, BCIntervention, MILE])
def test_two_ranks_minimise_the_loss_of_their_joint_batch(name, kind):
    """Interventions, and demonstrations, are spread unevenly over the ranks; what DDP averages are gradients."""
    env, steps = recorded(name)
    steps = steps[steps["intervened"].sort(stable=True).indices][len(steps) % 2 :]
    if kind is BCIntervention:
        steps["round"][: len(steps) // 3] = DEMONSTRATION
    method = make(kind, env, **({"mental_model": make_policy(env), "cost": 1.0, "scale": 2.0} if kind is MILE else {}))
    whole, ranks = gradients(method, steps), steps.chunk(2)

    heard = [Listening() for _ in ranks]
    for share, strategy in zip(ranks, heard, strict=True):
        method._trainer = SimpleNamespace(strategy=strategy)
        method.loss(share)
    means = [torch.stack(counts).mean() for counts in zip(*(strategy.counts for strategy in heard), strict=True)]
    parts = []
    for share in ranks:
        method._trainer = SimpleNamespace(strategy=Answering(means))
        parts.append(gradients(method, share))
    for joint, *own in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.stack(own).mean(0), joint, atol=1e-6, rtol=1e-5)


def gradients(method, batch):
    return torch.autograd.grad(method.loss(batch).loss, list(method.parameters()))


class Listening:
    """A strategy that hears the number of one rank."""

    def __init__(self):
        self.counts = []

    def reduce(self, count, reduce_op):
        self.counts.append(count)
        return count


class Answering:
    """A strategy that has heard those of all ranks."""

    def __init__(self, means):
        self.means = iter(means)

    def reduce(self, count, reduce_op):
        return {"mean": next(self.means)}[reduce_op]


@BOTH
def test_where_all_is_intervention_the_losses_are_the_same(name):
    env, steps = recorded(name)
    steps["intervened"] = torch.ones_like(steps["intervened"])
    steps["human_action"] = steps["executed_action"]
    losses = []
    for kind in CLONING:
        method, batch = make(kind, env), steps.clone()
        draw, weight = method.sampling_weights(steps), method.loss_weights(steps)
        assert draw is None or (draw == draw[0]).all()
        if weight is not None:
            batch["weight"] = weight
        losses.append(method.loss(batch).loss)
    assert losses[0] == losses[1]
    torch.testing.assert_close(losses[2], 0.5 * losses[0])


@BOTH
@pytest.mark.parametrize("kind", CLONING)
def test_cloning_goes_by_the_human_where_they_acted_and_by_the_robot_elsewhere(name, kind):
    """Against one step at a time."""
    env, steps = recorded(name)
    method = make(kind, env)
    expected = []
    for step in steps:
        target = step["human_action"] if step["intervened"] else step["robot_action"]
        expected.append(-method.policy(step["observation"]).log_prob(target))
    torch.testing.assert_close(method.loss(steps).loss, torch.stack(expected).mean())


@BOTH
@pytest.mark.parametrize("kind", [*CLONING, BCIntervention, RLIF])
def test_a_resumed_run_gives_the_same_weights_bit_for_bit(tmp_path, kind, name):
    settings = {"kind": kind, "name": name, "demos": 1, "restart": True}
    if kind is RLIF:
        settings["updates_per_step"] = 1
    whole, _ = train(tmp_path / "whole", **settings)
    half, trainer = train(tmp_path / "halves", stop_after=1, **settings)
    assert not same_weights(whole.policy, half.policy)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = train(tmp_path / "halves", ckpt_path=tmp_path / "half.ckpt", **settings)
    assert same_weights(whole.policy, resumed.policy)


@pytest.mark.parametrize("kind", [*CLONING, BCIntervention])
def test_a_restart_learns_as_if_there_had_been_no_round_before(tmp_path, kind):
    """Weights and optimiser alike: trained on the same recording in one round, they are the same."""
    method, trainer = train(tmp_path, kind, restart=True, batches_per_epoch=5)
    data = InterventionDataModule(tmp_path / "buffer", "Counting-v0", 16, batches_per_epoch=5, seed=3)
    data.epochs_served = 3  # the second round's batches
    again = make(kind, make_env("Counting-v0"))
    data.trainer = trainer
    trainer.strategy._lightning_module = again
    optimizer = again.configure_optimizers()
    for _ in range(3):
        for batch in data.batches():
            optimizer.zero_grad()
            again.loss(batch).loss.backward()
            optimizer.step()
    assert same_weights(method, again)


def test_a_method_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Method(make_policy(make_env("Counting-v0")))


@pytest.mark.parametrize("kind", CLONING)
def test_what_the_human_did_not_do_reaches_no_gradient(kind):
    """A robot's step has NaN in the place of a human action."""
    env, steps = recorded("CountingBox-v0")
    assert steps["human_action"].isnan().any()
    method = make(kind, env)
    method.loss(steps).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.parameters())
