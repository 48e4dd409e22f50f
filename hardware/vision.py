"""R3M: a frozen ResNet that turns a picture into numbers, with its weights from a folder of this machine or the web.

Source: Nair et al., "R3M: A universal visual representation for robot manipulation", CoRL 2022; App. D of the paper.
"""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict

FILES = {"resnet18": "r3m_18.pt", "resnet34": "r3m_34.pt", "resnet50": "r3m_50.pt"}
WIDTHS = {"resnet18": 512, "resnet34": 512, "resnet50": 2048}
SIZE = 224  # pixels, of what the network sees


class R3M:
    """Embeds pictures; TorchRL's `R3MTransform` does the work.

    The official weights are downloaded into the folder once. Their SHA-256 is kept beside them and checked thereafter.

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
        from torchrl.envs import R3MTransform  # noqa: PLC0415

        folder, self.width = Path(folder).expanduser(), WIDTHS[model]
        folder.mkdir(parents=True, exist_ok=True)
        weights = folder / FILES[model]
        if weights.exists():
            _check(weights, sha256)
        try:
            self.transform: Any = R3MTransform(
                model, ["pixels"], ["embedding"], SIZE, download=True, download_path=str(folder)
            )
        except OSError as error:
            raise ConnectionError(
                f"R3M's weights cannot be downloaded ({error}); copy the official {weights.name} to {folder}"
            ) from None
        _check(weights, sha256)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.transform.to(self.device).eval()

    @torch.no_grad()
    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embedding `[width]` of a picture `[height, width, 3]`, RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).unsqueeze(0)
        return self.transform(TensorDict({"pixels": pixels.to(self.device)}, [1]))["embedding"][0].cpu().numpy()


def _check(weights: Path, expected: str | None) -> None:
    """Compare weights with the hash that is expected, or that they had when they were first used."""
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    note = weights.with_suffix(".sha256")
    expected = expected or (note.read_text().strip() if note.exists() else None)
    if expected is not None and found != expected:
        raise ValueError(
            f"'{weights}' has SHA-256 {found[:12]}…, expected {expected[:12]}…; delete it, and it is downloaded anew"
        )
    note.write_text(found + "\n")


def _make_torchvision_load() -> None:
    """Import torchvision; its wheels expect operators for CUDA, which a CPU build of torch does not have."""
    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    try:
        import torchvision  # noqa: F401, PLC0415  # pyright: ignore
    except ModuleNotFoundError:
        raise ModuleNotFoundError("pictures need torchvision; pip install 'mile-interventions[vision]'") from None


_KEPT: list[Any] = []  # what is declared lasts as long as its library
