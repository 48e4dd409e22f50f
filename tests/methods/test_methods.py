"""What holds for all methods."""

from types import SimpleNamespace

import pytest
import torch

from mile.datamodules import InterventionDataModule
from mile.envs import make_env, make_policy
from mile.methods import (
    APO,
    EIL,
    HACO,
    MILE,
    PPL,
    PVP,
    RLIF,
    AdvantageConditioned,
    BCIntervention,
    Method,
    Residual,
)
from mile.transitions import DEMONSTRATION, ENTRIES, no_action
from tests.methods.training import BOUNDED, CLONING, ENVIRONMENTS, make, recorded, train
from tests.support import same_weights

BOTH = pytest.mark.parametrize("name", ENVIRONMENTS)


SHARED = [
    (kind, name)
    for kind in [*CLONING, BCIntervention, MILE, PPL, APO, EIL, HACO, PVP, Residual, AdvantageConditioned]
    for name in ENVIRONMENTS
    if (kind, name) != (HACO, "CountingBox-v0")  # its actor draws other actions on each rank
]


@pytest.mark.parametrize(("kind", "name"), SHARED)
def test_two_ranks_minimise_the_loss_of_their_joint_batch(kind, name):
    """Interventions, and demonstrations, are spread unevenly over the ranks; what DDP averages are gradients."""
    # a method, and a joint batch
    env, steps = recorded(name)
    settings = {}
    if kind is MILE:
        settings = {"mental_model": make_policy(env), "cost": 1.0, "scale": 2.0}
    if kind is AdvantageConditioned:
        settings = {"dropout": 0.0}  # it is drawn anew on each rank
    method = make(kind, env, squash=kind in BOUNDED and "Box" in name, **settings)
    if getattr(kind, "needs_attempts", None) is True:
        steps["context"] = method.context(steps)
    steps = steps[steps["intervened"].sort(stable=True).indices][len(steps) % 2 :]
    if kind is BCIntervention:
        steps["round"][: len(steps) // 3] = DEMONSTRATION
    whole, ranks = gradients(method, steps), steps.chunk(2)

    # the numbers of all ranks, and their means
    counts = []
    for share in ranks:
        strategy = Listening()
        method._trainer = SimpleNamespace(strategy=strategy)
        method.loss(share)
        counts.append(strategy.counts)
    means = [torch.stack(numbers).mean() for numbers in zip(*counts, strict=True)]

    # each rank's gradient, as it divides by the means
    parts = []
    for share in ranks:
        method._trainer = SimpleNamespace(strategy=Answering(means))
        parts.append(gradients(method, share))

    for joint, *own in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.stack(own).mean(0), joint, atol=1e-6, rtol=1e-5)


def gradients(method, batch):
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    return torch.autograd.grad(method.loss(batch).loss, trained)


class Listening:
    """A strategy that notes the numbers of one rank."""

    def __init__(self):
        self.counts = []

    def reduce(self, count, reduce_op):
        self.counts.append(count)
        return count


class Answering:
    """A strategy that knows the means over all ranks."""

    def __init__(self, means):
        self.means = iter(means)

    def reduce(self, count, reduce_op):
        assert reduce_op == "mean"
        return next(self.means)


@BOTH
@pytest.mark.parametrize("intervened", [True, False])
@pytest.mark.parametrize("kind", [PPL, APO, EIL, HACO, PVP, Residual, AdvantageConditioned])
def test_where_all_or_nothing_is_intervention_all_is_finite(name, kind, intervened):
    env, steps = recorded(name)
    steps["intervened"].fill_(intervened)
    steps["human_action"] = steps["executed_action"] if intervened else no_action(steps["robot_action"])
    method = make(kind, env, squash=kind in BOUNDED and "Box" in name)
    if getattr(kind, "needs_attempts", None) is True:
        steps["context"] = method.context(steps)
    weights = method.sampling_weights(steps)
    assert weights is None or (weights.isfinite() & (weights >= 0)).all()

    # the terms that have nothing to learn from are 0
    terms = method.loss(steps)._asdict()
    of_humans = {"policy_loss", "preference_loss", "human_loss", "proxy_loss", "advantage"}
    if not intervened and kind is not AdvantageConditioned:
        assert [name for name in of_humans & set(terms) if terms[name] != 0] == []
    if intervened and kind is EIL:
        assert terms["good_loss"] == 0

    assert all(value.isfinite() for value in terms.values())
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    for gradient in torch.autograd.grad(terms["loss"], trained, allow_unused=True, materialize_grads=True):
        assert gradient.isfinite().all()


EVERY = [MILE, BCIntervention, *CLONING, RLIF, PPL, APO, EIL, HACO, PVP, Residual, AdvantageConditioned]


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind is not RLIF])
def test_a_method_is_served_what_it_declares_and_nothing_more(tmp_path, kind):
    env, steps = recorded("Counting-v0")
    settings = {"mental_model": make_policy(env), "cost": 1.0, "scale": 2.0} if kind is MILE else {}
    data = InterventionDataModule(tmp_path / "buffer", "Counting-v0", 16)
    method = make(kind, env, **settings)
    data.trainer = SimpleNamespace(lightning_module=method, global_rank=0, world_size=1)
    for number in range(4):
        data.buffer.append(steps[steps["episode"] == number])

    batch = next(data.batches())
    own = {key for key in batch.keys(True, True) if key[0] != "context" and key != "weight"}
    assert own == set(kind.reads)
    assert method.loss(batch).loss.isfinite()


@pytest.mark.parametrize("kind", EVERY)
def test_nobody_is_handed_the_reward_or_what_only_a_simulation_knows(kind):
    assert set(kind.reads) <= set(ENTRIES)
    assert not {("next", "reward"), "intervention_prob", "timestamp"} & set(kind.reads)


@pytest.mark.parametrize("kind", [APO, EIL, HACO, PVP, AdvantageConditioned])
def test_a_recording_torn_into_single_steps_is_refused(tmp_path, kind):
    env, steps = recorded("Counting-v0")
    method = make(kind, env)
    data = InterventionDataModule(tmp_path / "buffer", "Counting-v0", 16)
    data.trainer = SimpleNamespace(lightning_module=method, global_rank=0, world_size=1)
    torn = steps[steps["episode"] == 0][::2]
    data.buffer.append(torn)
    with pytest.raises(ValueError, match="whole attempts are needed, got step 2 of episode 0"):
        next(data.batches())


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
@pytest.mark.parametrize(
    "kind", [*CLONING, BCIntervention, PPL, APO, EIL, HACO, PVP, Residual, AdvantageConditioned, RLIF]
)
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

    # the second round alone, by hand
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


@pytest.mark.parametrize("kind", [*CLONING, PPL, APO, EIL, HACO, PVP])
def test_what_the_human_did_not_do_reaches_no_gradient(kind):
    """A robot's step has NaN in the place of a human action."""
    env, steps = recorded("CountingBox-v0")
    assert steps["human_action"].isnan().any()
    method = make(kind, env, squash=kind in BOUNDED)
    if getattr(kind, "needs_attempts", None) is True:
        steps["context"] = method.context(steps)
    method.loss(steps).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in method.policy.parameters())
