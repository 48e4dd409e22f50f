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
from mile.policies.vision import import_torchvision

URL = "https://pytorch.s3.amazonaws.com/models/rl/r3m/"  # from where TorchRL's `R3MTransform` downloads them
FILES = {"resnet18": "r3m_18.pt", "resnet34": "r3m_34.pt", "resnet50": "r3m_50.pt"}
WIDTHS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}
PREFIX = "module.convnet."  # of the ResNet's parts in the file; the others belong to the language model
PICTURE_SIZE = 224  # pixels: width and height of the network's input


class R3M:
    """Embeds pictures with TorchRL's `R3MTransform`.

    The official weights are downloaded into the folder once, and loaded as in `load`.

    Args:
        folder: Folder of the weights, `r3m_50.pt` and the like.
        model: Name of the ResNet.
        sha256: SHA-256 of the weights, if it is known beforehand.
        device: Device of the network; None: a GPU if there is one.

    Raises:
        ModuleNotFoundError: `torchvision` is not installed.
        ValueError: The weights are not the expected ones.
        ConnectionError: The weights are missing, and cannot be downloaded.
    """

    def __init__(
        self,
        folder: str | Path = "~/.cache/mile/r3m",
        model: Literal["resnet18", "resnet34", "resnet50"] = "resnet50",
        sha256: str | None = None,
        device: str | None = None,
    ) -> None:
        import_torchvision()
        from torchrl.envs import R3MTransform

        # weights
        weights, self.width = Path(folder).expanduser() / FILES[model], WIDTHS[model]
        if not weights.exists():
            download(weights)

        # network
        self.transform: Any = R3MTransform(model, ["pixels"], ["embedding"], PICTURE_SIZE, download=False)
        load(self.transform[-1].convnet, weights, sha256)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.transform.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embedding `[width]` of a picture `[height, width, 3]`, RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).unsqueeze(0)  # [1, height, width, 3]
        output = self.transform(TensorDict({"pixels": pixels.to(self.device)}, [1]))
        return output["embedding"][0].cpu().numpy()


def download(weights: Path) -> None:
    """Download official weights to a temporary file and move it into place; load nothing.

    Args:
        weights: Path of the file to make, with its official name.

    Raises:
        ConnectionError: The weights cannot be downloaded.
    """
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL + weights.name, str(weights))
    except OSError as error:
        raise ConnectionError(
            f"R3M's weights cannot be downloaded ({error}); copy the official {weights.name} to {weights.parent}"
        ) from None


def load(network: nn.Module, weights: Path, sha256: str | None = None) -> None:
    """Load R3M's ResNet from a file, without ever running code that the file may hold.

    Without a hash, the first load writes the file's hash beside the file and prints it, and later loads expect it.

    Args:
        network: R3M's ResNet, without its last layer.
        weights: Path of the file.
        sha256: Expected SHA-256 of the file, in hexadecimal digits; None: that of the first load.

    Raises:
        ValueError: The file has another hash, or holds anything but these weights.
    """
    data = weights.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    renew = "delete it, and it is downloaded anew"

    # check the hash
    note, expected, replaced = weights.with_suffix(".sha256"), sha256, ""
    if sha256 is None and note.exists():
        expected = note.read_text(encoding="utf-8").strip()
        replaced = f"; if you have replaced it yourself, delete '{note}'"
    if expected is not None and actual != expected.lower():
        raise ValueError(f"'{weights}' has SHA-256 {actual}, expected {expected}; {renew}{replaced}")

    # read the content, and run no code of it
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # of many types, whose messages advise to load the file with its code
        raise ValueError(f"'{weights}' is damaged, or holds code, of which nothing was run; {renew}") from None

    # load the ResNet's part
    parts = content.get("r3m") if isinstance(content, dict) else None
    if not isinstance(parts, dict):
        raise ValueError(f"'{weights}' holds no weights of R3M's; {renew}")
    try:
        state = {name.removeprefix(PREFIX): part for name, part in parts.items() if str(name).startswith(PREFIX)}
        network.load_state_dict(state)
    except RuntimeError:
        raise ValueError(f"'{weights}' holds another network than '{weights.name}' should; {renew}") from None

    # remember the hash
    if expected is None:
        write_text(note, actual + "\n")
        print(f"'{weights}' has SHA-256 {actual}; give it as sha256 to be sure of it", flush=True)
