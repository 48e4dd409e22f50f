"""What mixtures of Gaussians and flows are good for: humans who go two ways."""

import pytest
import torch
from tensordict import TensorDict

from mile.envs import make_env, make_policy
from mile.methods import APO, MILE, PPL, HGDAgger
from mile.policies import FlowPolicy, GaussianPolicy, MixturePolicy, describe_checkpoint, load_policy, save_policy
from mile.policies.sampling import mode
from mile.train import train
from tests.methods.training import recorded
from tests.support import smoke

TWO_WAYS = 0.8  # to the left or to the right of something, and never straight on


def two_ways(count=256):
    """Steps of a human who passes an obstacle on either side, and of a robot that would go straight on."""
    torch.manual_seed(0)
    side = torch.randint(2, (count, 1)) * 2.0 - 1
    action = TWO_WAYS * side + 0.05 * torch.randn(count, 1)
    everywhere = torch.ones(count, dtype=torch.bool)
    return TensorDict(
        {
            "observation": torch.randn(count, 2),
            "robot_action": torch.zeros(count, 1),
            "human_action": action,
            "executed_action": action,
            "intervened": everywhere,
            "attended": everywhere,
            "asked": ~everywhere,
            "round": torch.zeros(count, dtype=torch.int64),
            "episode": torch.zeros(count, dtype=torch.int64),
            "step": torch.arange(count),
        },
        [count],
    )


def learnt(kind, method, **settings):
    torch.manual_seed(1)
    policy = kind(2, 1, (16,))
    if method is MILE:
        settings = {"mental_model": kind(2, 1, (16,)), "cost": 1.0, "scale": 1.0}
    module, steps = method(policy, **settings), two_ways()
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        module.loss(steps).loss.backward()
        optimizer.step()
    return policy, steps


@pytest.mark.parametrize("method", [HGDAgger, MILE])
def test_a_gaussian_drives_into_the_obstacle_and_others_pass_it(method):
    for kind, passes in ((GaussianPolicy, False), (MixturePolicy, True), (FlowPolicy, True)):
        policy, steps = learnt(kind, method)
        with torch.no_grad():
            action = mode(policy.at(steps)).abs()
        assert ((action - TWO_WAYS).abs() < 0.2).all() == passes


@pytest.mark.parametrize("method", [HGDAgger, PPL, MILE, APO])
@pytest.mark.parametrize("head", ["mixture", "flow"])
def test_methods_have_finite_gradients_with_every_head(head, method):
    env, steps = recorded("CountingBox-v0")
    torch.manual_seed(0)
    policy = make_policy(env, head=head, hidden_dims=(8,))
    settings = {}
    if method is MILE:
        mental_model = make_policy(env, head=head, hidden_dims=(8,))
        settings = {"mental_model": mental_model, "cost": 1.0, "scale": 2.0}
        settings |= {"silence_weight": 1.0, "spread": 1.0}
    module = method(policy, **settings)
    if method is APO:
        steps["context"] = module.context(steps)
    module.loss(steps).loss.backward()
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)


def test_a_mixture_is_saved_and_loaded(tmp_path):
    env = make_env("CountingBox-v0")
    policy = make_policy(env, head="mixture", components=3)
    save_policy(policy, tmp_path / "mixture", environment=env.name)
    again, observation = load_policy(tmp_path / "mixture"), torch.randn(5, 2)
    assert torch.equal(again.act(observation), policy.act(observation))


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match="head must be one of gaussian, mixture, flow, flow_matching, got 'transformer'"
    ):
        make_policy(make_env("CountingBox-v0"), head="transformer")
    with pytest.raises(ValueError, match="head=mixture is for continuous actions, and those of 'Counting-v0' are"):
        make_policy(make_env("Counting-v0"), head="mixture")
    with pytest.raises(ValueError, match="likelihood=scaled needs continuous actions of a diagonal Gaussian"):
        MILE(MixturePolicy(2, 1), MixturePolicy(2, 1), 1.0, 1.0, likelihood="scaled")


@pytest.mark.filterwarnings("ignore:no interventions in round")
@pytest.mark.parametrize(
    ("head", "words"), [("flow", "over 64 quasi-random points"), ("mixture", "over 64 points of each component")]
)
def test_a_run_learns_with_a_head_and_says_how_it_computed(tmp_path, capsys, head, words):
    train(smoke(tmp_path, "experiment=two_ways", f"policy.head={head}"))
    assert f"p(ν=1|s) was computed {words}" in capsys.readouterr().out
    description = describe_checkpoint(next(tmp_path.rglob("policy.safetensors")))
    assert description["intervention_prob"] == words
    assert description["policy"] == {"flow": "FlowPolicy", "mixture": "MixturePolicy"}[head]
