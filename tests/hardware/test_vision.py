import hashlib
import importlib.util
import io
import os
import pickle
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from torch import nn

from mile.hardware.vision import PICTURE_SIZE, R3M, download, load
from mile.policies.vision import import_torchvision

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="needs torchvision: pip install '.[vision]'"
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the official file's format: a DataParallel's in a dict, with parts that are not used."""
    # network
    import_torchvision()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18()
    network.fc = torch.nn.Identity()
    network.eval()

    # file
    content = {f"module.convnet.{name}": value for name, value in network.state_dict().items()}
    folder = tmp_path_factory.mktemp("r3m")
    torch.save({"r3m": content | {"module.lang_rew.pred.0.weight": torch.zeros(1)}}, folder / "r3m_18.pt")
    return folder, network


@needs_torchvision
def test_a_picture_is_embedded_by_the_network_in_the_file(weights):
    folder, network = weights
    encoder = R3M(folder, "resnet18", device="cpu")
    picture = np.random.default_rng(0).integers(0, 255, (PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = network(((torch.from_numpy(picture).permute(2, 0, 1) / 255 - mean) / std).unsqueeze(0))[0]
    embedding = encoder(picture)
    assert embedding.shape == (encoder.width,) == (512,)
    np.testing.assert_allclose(embedding, expected, atol=1e-4)
    assert encoder(np.zeros((480, 640, 3), np.uint8)).shape == (512,)  # other sizes are resized


@needs_torchvision
@pytest.mark.gpu
def test_a_gpu_makes_the_same_numbers(weights):
    picture = np.random.default_rng(0).integers(0, 255, (PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
    here, there = R3M(weights[0], "resnet18", device="cpu"), R3M(weights[0], "resnet18")
    assert there.device.type == "cuda"
    np.testing.assert_allclose(there(picture), here(picture), rtol=1e-2, atol=1e-2)


@needs_torchvision
def test_the_network_takes_no_weights_that_were_not_checked(weights, tmp_path):
    folder, _ = weights
    with pytest.raises(ValueError, match=r"expected 0123.*downloaded anew"):
        R3M(folder, "resnet18", sha256="0123")
    (tmp_path / "r3m_34.pt").write_bytes((folder / "r3m_18.pt").read_bytes())
    with pytest.raises(ValueError, match=r"holds another network than 'r3m_34.pt' should"):
        R3M(tmp_path, "resnet34")


def test_without_torchvision_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '.\[vision\]' in the checkout's folder"):
        R3M(tmp_path)


CONTENT = {"module.convnet.weight": torch.full((1, 2), 3.0), "module.convnet.bias": torch.ones(1)}


@pytest.fixture
def file(tmp_path):
    """A network of two numbers in the official file's format; `nn.Linear(2, 1)` takes it."""
    path = tmp_path / "r3m_18.pt"
    torch.save({"r3m": CONTENT | {"module.lang_rew.bias": torch.zeros(3)}, "global_step": 5}, path)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_first_files_hash_is_kept_and_printed_once(file, capsys):
    network = nn.Linear(2, 1)
    load(network, file)
    assert torch.equal(network.weight, CONTENT["module.convnet.weight"])
    assert torch.equal(network.bias, CONTENT["module.convnet.bias"])
    assert capsys.readouterr().out == f"'{file}' has SHA-256 {sha256(file)}; give it as sha256 to be sure of it\n"
    load(network, file)
    assert capsys.readouterr().out == ""
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ValueError, match=f"has SHA-256 {sha256(file)}, expected .*if you have replaced it yourself"):
        load(network, file)
    load(network, file, sha256(file).upper())  # an explicit hash replaces the first file's


def test_an_explicit_hash_is_expected_of_the_first_file_too(file, capsys):
    with pytest.raises(ValueError, match=r"expected 0123; delete it, and it is downloaded anew$"):
        load(nn.Linear(2, 1), file, "0123")
    load(nn.Linear(2, 1), file, sha256(file))
    assert capsys.readouterr().out == ""
    assert list(file.parent.iterdir()) == [file]


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


FORMATS = {
    "zip": lambda payload: saved({"r3m": CONTENT, "more": payload}),
    "legacy": lambda payload: saved({"r3m": CONTENT, "more": payload}, _use_new_zipfile_serialization=False),
    "pickle": pickle.dumps,
    "text pickle": partial(pickle.dumps, protocol=0),
}


@pytest.mark.parametrize("known", ["by nobody", "by the note", "as given"])
@pytest.mark.parametrize("format", FORMATS)
def test_code_in_a_file_is_refused_and_not_run_even_where_its_hash_is_known(tmp_path, format, known):
    file, trace = tmp_path / "r3m_18.pt", tmp_path / "trace"
    file.write_bytes(FORMATS[format](Payload(trace)))
    note = tmp_path / "r3m_18.sha256"
    if known == "by the note":
        note.write_text(sha256(file))
    with pytest.raises(ValueError, match="is damaged, or holds code, of which nothing was run") as refused:
        load(nn.Linear(2, 1), file, sha256(file) if known == "as given" else None)
    assert not trace.exists()
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # nobody is told how to run it
    assert note.exists() == (known == "by the note")
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists()  # the payload is one


WRONG = {
    "nothing": (b"", "is damaged"),
    "a page of the web": (b"<html>", "is damaged"),
    "half of it": (saved({"r3m": CONTENT})[:-300], "is damaged"),
    "something else": (saved({"epoch": 3}), "holds no weights"),
    "a tensor": (saved(torch.zeros(3)), "holds no weights"),
    "numbered parts": (saved({"r3m": {5: torch.zeros(3)}}), "holds another network"),
    "other shapes": (saved({"r3m": CONTENT | {"module.convnet.weight": torch.zeros(7)}}), "holds another network"),
}


@pytest.mark.parametrize("content_name", WRONG)
def test_a_file_without_such_weights_is_refused_in_one_line_and_its_hash_is_not_kept(tmp_path, content_name):
    content, message = WRONG[content_name]
    file = tmp_path / "r3m_18.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        load(nn.Linear(2, 1), file)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [file]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def served(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_leaves_a_whole_file_and_loads_nothing_of_it(tmp_path, monkeypatch):
    web, trace, file = tmp_path / "web", tmp_path / "trace", tmp_path / "new" / "r3m_18.pt"
    web.mkdir()
    (web / "r3m_18.pt").write_bytes(pickle.dumps(Payload(trace)))
    with served(web) as url:
        monkeypatch.setattr("mile.hardware.vision.URL", url)
        download(file)
        with pytest.raises(ConnectionError, match=r"cannot be downloaded .*404.*copy the official r3m_50.pt to"):
            download(file.with_name("r3m_50.pt"))
    assert list(file.parent.iterdir()) == [file]
    assert file.read_bytes() == (web / "r3m_18.pt").read_bytes()
    assert not trace.exists()


@needs_torchvision
def test_missing_weights_are_downloaded_checked_and_only_then_loaded(weights, tmp_path, monkeypatch, capsys):
    folder, _ = weights
    with served(folder) as url:
        monkeypatch.setattr("mile.hardware.vision.URL", url)
        R3M(tmp_path, "resnet18", device="cpu")
    assert f"has SHA-256 {sha256(folder / 'r3m_18.pt')}; give it" in capsys.readouterr().out
    (tmp_path / "r3m_18.pt").write_bytes(pickle.dumps(Payload(tmp_path / "trace")))
    (tmp_path / "r3m_18.sha256").unlink()
    with pytest.raises(ValueError, match="holds code"):
        R3M(tmp_path, "resnet18")
    assert not (tmp_path / "trace").exists()


@needs_torchvision
def test_without_weights_and_web_the_message_says_what_to_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("mile.hardware.vision.URL", "http://127.0.0.1:9/")  # where nobody listens
    with pytest.raises(ConnectionError, match=r"copy the official r3m_18.pt to"):
        R3M(tmp_path, "resnet18")
