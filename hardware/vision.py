"""R3M: a frozen ResNet that turns a picture into numbers, with its weights from a folder of this machine or the web.

Source: Nair et al., "R3M: A universal visual representation for robot manipulation", CoRL 2022; App. D of the paper.
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torch import nn

from mile.files import write_text

URL = "https://pytorch.s3.amazonaws.com/models/rl/r3m/"  # where TorchRL's `R3MTransform` has them from
FILES = {"resnet18": "r3m_18.pt", "resnet34": "r3m_34.pt", "resnet50": "r3m_50.pt"}
WIDTHS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}
PREFIX = "module.convnet."  # of the ResNet's parts in the file; the others belong to the language model
SIZE = 224  # pixels, of what the network sees


class R3M:
    """Embeds pictures; TorchRL's `R3MTransform` does the work.

    The official weights are downloaded into the folder once, and loaded as in `load`.

    Args:
        folder: of the weights, `r3m_50.pt` and the like.
        model: which ResNet.
        sha256: of the weights, if it is known beforehand.
        device: where the network is; None: a GPU if there is one.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
        ValueError: the weights are not the ones that are expected.
        ConnectionError: they are not there, and cannot be downloaded.
    """

    def __init__(
        self,
        folder: str | Path = "~/.cache/mile/r3m",
        model: Literal["resnet18", "resnet34", "resnet50"] = "resnet50",
        sha256: str | None = None,
        device: str | None = None,
    ) -> None:
        _make_torchvision_load()
        from torchrl.envs import R3MTransform

        weights, self.width = Path(folder).expanduser() / FILES[model], WIDTHS[model]
        if not weights.exists():
            download(weights)
        self.transform: Any = R3MTransform(model, ["pixels"], ["embedding"], SIZE, download=False)
        load(self.transform[-1].convnet, weights, sha256)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.transform.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embedding `[width]` of a picture `[height, width, 3]`, RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).unsqueeze(0)
        return self.transform(TensorDict({"pixels": pixels.to(self.device)}, [1]))["embedding"][0].cpu().numpy()


def download(weights: Path) -> None:
    """Download official weights by way of a draft, and load nothing of them.

    Args:
        weights: the file, by its official name.

    Raises:
        ConnectionError: They cannot be downloaded.
    """
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL + weights.name, str(weights))
    except OSError as error:
        raise ConnectionError(
            f"R3M's weights cannot be downloaded ({error}); copy the official {weights.name} to {weights.parent}"
        ) from None


def load(network: nn.Module, weights: Path, sha256: str | None = None) -> None:
    """Load R3M's ResNet from a file of which no code is ever run.

    Without a hash the file must be the one of the first time, whose hash is then kept beside it, and said.

    Args:
        network: the ResNet, without its last layer.
        weights: the file.
        sha256: of the file, in hexadecimal digits.

    Raises:
        ValueError: It is another file, or holds anything but these weights.
    """
    data = weights.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    renew = "delete it, and it is downloaded anew"

    # which file it must be
    note, expected, replaced = weights.with_suffix(".sha256"), sha256, ""
    if sha256 is None and note.exists():
        expected = note.read_text(encoding="utf-8").strip()
        replaced = f"; if you have replaced it yourself, delete '{note}'"
    if expected is not None and actual != expected.lower():
        raise ValueError(f"'{weights}' has SHA-256 {actual}, expected {expected}; {renew}{replaced}")

    # what it holds
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # of many kinds, whose texts advise to load the file with its code
        raise ValueError(f"'{weights}' is damaged, or holds code, of which nothing was run; {renew}") from None
    parts = content.get("r3m") if isinstance(content, dict) else None
    if not isinstance(parts, dict):
        raise ValueError(f"'{weights}' holds no weights of R3M's; {renew}")
    try:
        network.load_state_dict(
            {name.removeprefix(PREFIX): part for name, part in parts.items() if str(name).startswith(PREFIX)}
        )
    except RuntimeError:
        raise ValueError(f"'{weights}' holds another network than '{weights.name}' should; {renew}") from None

    if expected is None:
        write_text(note, actual + "\n")
        print(f"'{weights}' has SHA-256 {actual}; give it as sha256 to be sure of it", flush=True)


def _make_torchvision_load() -> None:
    """Import torchvision; its wheels expect operators for CUDA, which a CPU build of torch does not have."""
    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    try:
        import torchvision  # noqa: F401  # pyright: ignore
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "pictures need torchvision; pip install '.[vision]' in the checkout's folder"
        ) from None


_KEPT: list[Any] = []  # what is declared lasts as long as its library
