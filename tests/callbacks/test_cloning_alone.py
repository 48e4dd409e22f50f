"""How far a method is from cloning alone: against runs of cloning alone, and what the measurement must not touch."""

import math

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensordict import TensorDict
from torchrl.envs import TransformedEnv

from mile.callbacks import CloningAloneCallback, DeploymentCallback, LearningCallback, RoundCheckpoint
from mile.callbacks.cloning_alone import action_distance
from mile.callbacks.learning import saturated_share, term_gradients
from mile.datamodules import InterventionDataModule
from mile.envs import InterventionTransform, make_env, make_policy
from mile.methods import IWR, MILE, HGDAgger
from mile.policies import CategoricalPolicy, GaussianPolicy, load_policy
from mile.train import train
from tests.support import EveryThird, same_weights, smoke

EPOCHS = 3  # a round
DISTANCES = ("cloning/distance_intervened", "cloning/distance_not_intervened")


def mile(weight, discrete=False):
    torch.manual_seed(0)
    env = make_env("Counting-v0" if discrete else "CountingBox-v0")
    policy, mental_model = (make_policy(env, hidden_dims=(8,)) for _ in range(2))
    return MILE(policy, mental_model, 1.0, 2.0, intervention_weight=weight)


def fit(folder, method, *callbacks, rounds=2, epochs=EPOCHS, ckpt_path=None, restart=False, discrete=False):
    """Learn, and return what was logged by name: a value for each round."""
    name = "Counting-v0" if discrete else "CountingBox-v0"
    env = TransformedEnv(make_env(name, num_envs=2), InterventionTransform(EveryThird(continuous=not discrete)))
    deployment = DeploymentCallback(env, num_rounds=rounds, episodes_per_round=2, epochs_per_round=epochs)
    trainer = Trainer(
        accelerator="cpu",
        logger=TensorBoardLogger(folder, "", ""),
        callbacks=[deployment, *callbacks, RoundCheckpoint(folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=-1,
        log_every_n_steps=1,
    )
    data = InterventionDataModule(folder / "buffer", name, batch_size=8, restart=restart)
    trainer.fit(method, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("restart", [False, True])
def test_mile_without_its_first_term_is_cloning_alone(tmp_path, restart):
    logged = fit(tmp_path, mile(0.0), CloningAloneCallback(), restart=restart)
    for name in DISTANCES:
        assert logged[name] == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize("method", [HGDAgger, IWR])
def test_a_method_that_clones_more_differs_from_cloning_interventions_alone(tmp_path, method):
    logged = fit(tmp_path, method(mile(0.5).policy), CloningAloneCallback(), rounds=1)
    distances = [logged[name][0] for name in DISTANCES]
    if method is HGDAgger:
        assert distances == pytest.approx([0, 0], abs=1e-5)
    else:
        assert min(distances) > 0.01


def test_a_strong_first_term_leads_elsewhere(tmp_path):
    logged = [fit(tmp_path / str(weight), mile(weight), CloningAloneCallback(), rounds=1) for weight in (0.1, 0.9999)]
    for name in DISTANCES:
        (weak,), (strong,) = (values[name] for values in logged)
        assert 0 < weak < strong
        assert strong > 0.3


def test_discrete_actions_are_measured_too(tmp_path):
    logged = fit(tmp_path, mile(0.5, discrete=True), CloningAloneCallback(), discrete=True)
    for name in DISTANCES:
        assert len(logged[name]) == 2
        assert min(logged[name]) > 0.001


def test_the_distance_is_that_from_a_run_of_cloning_alone(tmp_path):
    """In one round both runs begin alike and have the same episodes and batches."""
    initial, method, alone = mile(0.0).policy, mile(0.9), mile(0.0)
    logged = fit(tmp_path / "mile", method, CloningAloneCallback(), rounds=1)
    fit(tmp_path / "alone", alone, rounds=1)

    steps = InterventionDataModule(tmp_path / "mile" / "buffer", "CountingBox-v0").steps()
    for name, intervened in zip(DISTANCES, (True, False), strict=True):
        observation = steps["observation"][steps["intervened"] == intervened]
        with torch.no_grad():
            mean, cloned, before = (policy(observation).mean for policy in (method.policy, alone.policy, initial))
        apart, moved = (mean - cloned).norm(dim=-1).mean(), (mean - before).norm(dim=-1).mean()
        assert logged[name][0] == pytest.approx(float(apart / moved), rel=1e-3)


@pytest.mark.parametrize("options", [["policy.chunk=2"], ["policy.chunk=1"], ["policy.head=flow_matching"]])
def test_every_kind_of_policy_can_be_measured_and_learns_the_same(tmp_path, options):
    policies = []
    for more in ([], ["callbacks=cloning_alone"]):
        folder = tmp_path / str(len(policies))
        folder.mkdir()
        train(smoke(folder, "experiment=drawer_open", "method=hg_dagger", "logger=none", *options, *more))
        policies.append(load_policy(folder / "policy"))
    assert same_weights(*policies)


@pytest.mark.parametrize("restart", [False, True])
def test_the_run_is_the_same_with_the_measurement(tmp_path, restart):
    """Its weights, and the random numbers that it would draw next."""
    methods, states = [], []
    for name, callbacks in (("plain", []), ("measured", [CloningAloneCallback()])):
        methods.append(mile(0.5))
        fit(tmp_path / name, methods[-1], *callbacks, restart=restart)
        states.append(torch.get_rng_state())
    assert same_weights(*methods)
    assert torch.equal(*states)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.filterwarnings("ignore:.*holds .* episodes")
def test_a_stopped_run_measures_what_it_would_have(tmp_path, restart):
    """Stopped after the first epoch of the second round, and continued."""
    whole = fit(tmp_path / "whole", mile(0.9), CloningAloneCallback(), restart=restart)

    class Stops(CloningAloneCallback):
        @property
        def state_key(self):
            return CloningAloneCallback().state_key

        def on_train_epoch_end(self, trainer, pl_module):
            super().on_train_epoch_end(trainer, pl_module)
            if trainer.current_epoch == EPOCHS:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                trainer.should_stop = True

    fit(tmp_path / "part", mile(0.9), Stops(), restart=restart)
    folder = tmp_path / "part"
    again = fit(folder, mile(0.9), CloningAloneCallback(), ckpt_path=tmp_path / "middle.ckpt", restart=restart)
    for name in DISTANCES:
        assert again[name][-1] == whole[name][-1]


def test_without_a_checkpoint_there_is_no_state():
    assert CloningAloneCallback().state_dict() == {}


def test_distances_are_those_of_means_and_of_probabilities():
    torch.manual_seed(0)
    observation = torch.randn(5, 3)
    steps = TensorDict({"observation": observation}, [5])
    first, second = GaussianPolicy(3, 2, (4,)), GaussianPolicy(3, 2, (4,))
    means = first(observation).mean, second(observation).mean
    torch.testing.assert_close(action_distance(first, second, steps), (means[0] - means[1]).pow(2).sum(-1).sqrt())

    sure, unsure = CategoricalPolicy(3, 2, ()), CategoricalPolicy(3, 2, ())
    for policy, logit in ((sure, 100.0), (unsure, 0.0)):
        *weights, bias = policy.parameters()
        for parameter in weights:
            torch.nn.init.zeros_(parameter)
        bias.data = torch.tensor([logit, 0.0])
    torch.testing.assert_close(action_distance(sure, unsure, steps), torch.full([5], math.sqrt(0.5)))


def test_the_ratio_is_that_of_the_two_gradients(tmp_path):
    method = mile(0.5)
    logged = fit(tmp_path, method, LearningCallback(), rounds=1)
    data = InterventionDataModule(tmp_path / "buffer", "CountingBox-v0")
    gradients = term_gradients(method, data.steps()[:])
    norms = []
    for term in ("intervention_loss", "policy_loss"):
        squares = [part.square().sum() for part in gradients[term, "policy"]]
        norms.append(float(sum(squares)) ** 0.5)
    assert logged["gradient/ratio"] == pytest.approx([norms[0] / norms[1]], rel=1e-4)
    assert 0 <= logged["policy/log_std_saturated"][0] <= 1


def test_a_log_std_is_saturated_where_autograd_finds_hardly_a_gradient():
    torch.manual_seed(0)
    policy, observation = GaussianPolicy(3, 2, (4,)), torch.randn(200, 3)
    with torch.no_grad():
        list(policy.parameters())[-2].mul_(40)
    raw = policy.network(policy.normalizer(observation))[:, 2:].detach().requires_grad_()
    (slope,) = torch.autograd.grad(torch.sigmoid(raw).sum(), raw)
    share = float((slope < 0.01 * 0.25).float().mean())
    assert 0.1 < share < 0.9
    assert saturated_share(policy, TensorDict({"observation": observation}, [200])) == pytest.approx(share)
