"""Larger networks for pictures; those of timm where it is installed."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mile.collection import collect_episodes
from mile.envs import make_env, make_policy
from mile.policies import load_policy, save_policy
from mile.policies.encoders import PictureEncoder
from mile.policies.vision import FrozenVision, import_timm

needs_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm: pip install '.[vision]'")
MODEL = "vit_small_patch14_dinov2.lvd142m"


class Brightness:
    """A frozen network in the place of a large one: the mean of each colour, and 1."""

    width = 4

    def __call__(self, picture):
        return np.append(picture.mean((0, 1)), 1).astype(np.float32)


def test_pictures_are_recorded_as_vectors_by_the_same_names():
    env = make_env("CountingShown-v0", num_envs=2, embed=Brightness)
    assert env.observed == ("observation", "pixels")
    policy = make_policy(env, hidden_dims=(8,))
    assert policy.architecture["observation_dim"] == 6
    steps = collect_episodes(env, policy, 2, seed=0)
    shown = collect_episodes(
        make_env("CountingShown-v0", num_envs=2),
        lambda step: step.set("action", step["observation"][..., 0].long() * 0),
        2,
        seed=0,
    )
    expected = shown["pixels"].float().mean((1, 2))
    torch.testing.assert_close(steps["pixels"][:, :3], expected)
    assert env.recipe().reset()["pixels"].shape == (2, 4)  # as worker processes make it


def test_a_picture_alone_becomes_the_observation():
    env = make_env("car_racing", embed=Brightness)
    assert env.observed == ("observation",)
    assert env.reset()["observation"].shape == (1, 4)


def test_a_network_for_pictures_needs_some():
    with pytest.raises(ValueError, match="embed is for pictures, and there are none in Box"):
        make_env("lunarlander", embed=Brightness)


def test_an_encoder_of_a_kind_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="kind must be small or resnet18, got 'large'"):
        PictureEncoder((2, 40, 40, 3), kind="large")


@pytest.mark.parametrize("module", ["torchvision", "timm"])
def test_what_is_missing_is_said(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[vision\]' in the checkout's folder"):
        PictureEncoder((2, 40, 40, 3), kind="resnet18")


@needs_timm
def test_a_resnet_encodes_each_picture_by_itself(tmp_path):
    torch.manual_seed(0)
    env = make_env("CountingShown-v0", num_envs=2, stack=2)
    policy = make_policy(env, encoder={"width": 16, "kind": "resnet18"}, hidden_dims=(8,))
    pixels = torch.randint(0, 256, (3, 2, 36, 40, 3), dtype=torch.uint8)
    encoder = policy.encoders["pixels"].train()
    torch.testing.assert_close(encoder(pixels)[:1], encoder(pixels[:1]), atol=1e-5, rtol=1e-4)

    # it learns, and is read back
    loss = -policy.at(env.reset()).log_prob(torch.tensor([0, 1])).mean()
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in encoder.parameters())
    path = save_policy(policy, tmp_path / "policy", environment="CountingShown-v0")
    torch.testing.assert_close(load_policy(path).encoders["pixels"](pixels), encoder(pixels))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the small DINOv2 in the form of the official file, for pictures of 518 x 518."""
    torch.manual_seed(0)
    network = import_timm().create_model(MODEL, pretrained=False, num_classes=0)
    path = tmp_path_factory.mktemp("dinov2") / "model.safetensors"
    save_file(network.state_dict(), path)
    return path, network.eval()


@needs_timm
def test_a_picture_is_embedded_by_the_network_in_the_file(weights, monkeypatch):
    path, network = weights
    monkeypatch.setattr("mile.policies.vision.PICTURE_SIZE", 518)
    picture = np.random.default_rng(0).integers(0, 255, (518, 518, 3), np.uint8)
    mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = network(((torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std).unsqueeze(0))[0]
    embedding = FrozenVision(path, device="cpu")(picture)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)


@needs_timm
def test_weights_of_another_network_are_refused(weights, tmp_path):
    path, _ = weights
    assert FrozenVision(path, device="cpu")(np.zeros((96, 96, 3), np.uint8)).shape == (384,)
    with pytest.raises(ValueError, match="does not hold the weights of timm's 'vit_base"):
        FrozenVision(path, "vit_base_patch14_dinov2.lvd142m")
    with pytest.raises(ValueError, match=r"has SHA-256 [0-9a-f]+, expected 0123"):
        FrozenVision(path, sha256="0123")
    with pytest.raises(ValueError, match=r"as a \.safetensors file of this machine, got .*pickled"):
        FrozenVision(tmp_path / "pickled.pt")
