import importlib.util
import sys

import numpy as np
import pytest
import torch

from mile.hardware.vision import R3M, SIZE, _make_torchvision_load

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="needs torchvision: pip install '.[vision]'"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the official file's format: a DataParallel's in a dict, with parts that are not used."""
    _make_torchvision_load()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18()
    network.fc = torch.nn.Identity()
    network.eval()
    content = {f"module.convnet.{name}": value for name, value in network.state_dict().items()}
    folder = tmp_path_factory.mktemp("r3m")
    torch.save({"r3m": content | {"module.lang_rew.pred.0.weight": torch.zeros(1)}}, folder / "r3m_18.pt")
    return folder, network


@needs_torchvision
def test_a_picture_is_embedded_by_the_network_in_the_file(weights):
    folder, network = weights
    encoder = R3M(folder, "resnet18", device="cpu")
    picture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    mean, std = (torch.tensor(it).view(3, 1, 1) for it in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = network(((torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std).unsqueeze(0))[0]
    found = encoder(picture)
    assert found.shape == (encoder.width,) == (512,)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert encoder(np.zeros((480, 640, 3), np.uint8)).shape == (512,)  # other sizes are resized


@needs_torchvision
@pytest.mark.gpu
def test_a_gpu_makes_the_same_numbers(weights):
    picture = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
    here, there = R3M(weights[0], "resnet18", device="cpu"), R3M(weights[0], "resnet18")
    assert there.device.type == "cuda"
    np.testing.assert_allclose(there(picture), here(picture), rtol=1e-2, atol=1e-2)


@needs_torchvision
def test_other_weights_than_the_first_time_are_refused(weights):
    folder, _ = weights
    R3M(folder, "resnet18")
    with pytest.raises(ValueError, match=r"expected 0123.*downloaded anew"):
        R3M(folder, "resnet18", sha256="0123")
    original = (folder / "r3m_18.pt").read_bytes()
    (folder / "r3m_18.pt").write_bytes(original + b"x")
    with pytest.raises(ValueError, match="has SHA-256"):
        R3M(folder, "resnet18")
    (folder / "r3m_18.pt").write_bytes(original)


@needs_torchvision
def test_without_weights_and_web_it_says_what_to_copy(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("torchrl.envs.transforms.r3m.load_state_dict_from_url", offline)
    with pytest.raises(ConnectionError, match=r"copy the official r3m_18.pt to"):
        R3M(tmp_path, "resnet18")


def test_without_torchvision_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModuleNotFoundError, match=r"mile-interventions\[vision\]"):
        R3M(tmp_path)
