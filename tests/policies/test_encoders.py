import pytest
import torch
from tensordict import TensorDict

from mile.policies import GaussianPolicy
from mile.policies.encoders import PictureEncoder

PICTURES = {"pixels": {"shape": [2, 40, 36, 3], "width": 16}}


def shown(count):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (count, 2, 40, 36, 3), dtype=torch.uint8)
    return TensorDict({"pixels": pixels, "a": torch.randn(count, 2), "b": torch.randn(count, 3)}, [count])


def test_an_encoder_is_the_network_of_its_layers():
    """Against torch's functions, layer by layer."""
    torch.manual_seed(0)
    encoder, steps = PictureEncoder(**PICTURES["pixels"]), shown(5)
    weights = list(encoder.parameters())
    channels = []
    for picture in range(2):
        for color in range(3):
            channels.append(steps["pixels"][:, picture, :, :, color].float() / 255)
    features = torch.stack(channels, 1)
    for number, stride in enumerate((4, 2, 1)):
        features = torch.nn.functional.conv2d(features, weights[2 * number], weights[2 * number + 1], stride).relu()
    expected = torch.nn.functional.linear(features.flatten(1), *weights[6:]).relu()
    torch.testing.assert_close(encoder(steps["pixels"]), expected)


def test_batches_of_any_shape_and_without_a_gradient_are_encoded_alike():
    encoder, pixels = PictureEncoder(**PICTURES["pixels"]), shown(6)["pixels"]
    whole = encoder(pixels)
    torch.testing.assert_close(encoder(pixels.reshape(2, 3, *pixels.shape[1:])), whole.reshape(2, 3, -1))
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels), whole)


@pytest.mark.parametrize("keys", [("pixels", "a", "b"), ("b", "pixels", "a")])
def test_each_input_counts_and_vectors_are_normalised(keys):
    torch.manual_seed(0)
    policy, steps = GaussianPolicy(5, 2, (8,), pictures=PICTURES), shown(50)
    policy.in_keys = keys
    policy.fit_normalizer(steps)
    vectors = torch.cat([steps[key] for key in keys if key != "pixels"], -1)
    torch.testing.assert_close(policy.normalizer.mean, vectors.mean(0))
    torch.testing.assert_close(policy.at(steps).mean, policy(*(steps[key] for key in keys)).mean)
    for key in keys:
        other = steps.clone()
        other[key] = other[key].roll(1, 0)
        assert not torch.allclose(policy.at(other).mean, policy.at(steps).mean)


def test_inputs_of_recorded_steps_are_stacks_within_their_episode():
    policy = GaussianPolicy(0, 1, (4,), pictures={"pixels": {"shape": [3, 36, 36, 1]}})
    value = torch.arange(7, dtype=torch.uint8)
    pixels = value[:, None, None, None].expand(7, 36, 36, 1)
    steps = TensorDict({"pixels": pixels, "step": torch.tensor([0, 1, 2, 3, 0, 1, 2])}, [7])
    (stacks,) = policy.inputs_at(steps, torch.tensor([3, 0, 5, 6]))
    assert stacks[:, :, 0, 0, 0].tolist() == [[1, 2, 3], [0, 0, 0], [4, 4, 5], [4, 5, 6]]


def test_what_does_not_fit_is_named():
    policy = GaussianPolicy(5, 2, (8,), pictures=PICTURES)
    policy.in_keys = ("pixels", "a", "b")
    steps = shown(2)
    with pytest.raises(ValueError, match="'a' is observed here, and these steps have only b, pixels"):
        policy.at(steps.exclude("a"))
    with pytest.raises(ValueError, match=r"3 inputs are expected \(pixels, a, b\), got 1"):
        policy(steps["a"])
    with pytest.raises(ValueError, match=r"\(2, 40, 36, 3\) and the type uint8 are expected, got \(2, 20, 36, 3\) and"):
        policy(steps["pixels"][:, :, ::2], steps["a"], steps["b"])
    with pytest.raises(ValueError, match=r"and the type uint8 are expected, got .* and float32"):
        policy(steps["pixels"].float(), steps["a"], steps["b"])
    with pytest.raises(ValueError, match="pictures must have at least 36 x 36 pixels, got 20 x 36"):
        PictureEncoder([1, 20, 36, 3])
    with pytest.raises(ValueError, match=r"must be \(pictures, height, width, channels\), got \(36, 36, 3\)"):
        PictureEncoder([36, 36, 3])
