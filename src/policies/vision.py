"""Larger networks for pictures: a ResNet that is trained, and a frozen vision transformer. They come from timm."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CHANNELS_PER_GROUP = 16
PICTURE_SIZE = 224  # pixels: width and height of a frozen network's input
MISSING = "pictures need torchvision and timm; pip install '.[vision]' in the checkout's folder"
_LIBRARIES: list[Any] = []  # operators that are declared exist as long as their library


def import_torchvision() -> None:
    """Import torchvision; declare operators that its wheels expect, and that a CPU build of torch does not have.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
    try:
        import torchvision  # noqa: F401  # pyright: ignore
    except ModuleNotFoundError:
        raise ModuleNotFoundError(MISSING) from None


def import_timm() -> Any:
    """Import timm, which needs torchvision, and return it.

    Raises:
        ModuleNotFoundError: One of them is not installed.
    """
    import_torchvision()
    try:
        import timm  # pyright: ignore
    except ModuleNotFoundError:
        raise ModuleNotFoundError(MISSING) from None
    return timm


def resnet18(channels: int, width: int) -> nn.Module:
    """Return a ResNet-18 with new weights, whose batch normalisation is replaced by that of groups of channels.

    What a picture becomes does not depend on the others of its batch, in training as in deployment.

    Args:
        channels: Number of channels of the input.
        width: Length of the output vector.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016; Wu and He, "Group normalization",
    ECCV 2018.
    """
    make = partial(import_timm().create_model, pretrained=False)
    return make("resnet18", in_chans=channels, num_classes=width, norm_layer=_groups)


def _groups(channels: int, **options: Any) -> nn.GroupNorm:
    """Return the normalisation of groups of channels; timm's options are those of batch normalisation."""
    return nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)


class FrozenVision:
    """Embeds pictures with one of timm's networks, whose weights are a file of this machine.

    Args:
        weights: Safetensors file, as the model's page offers it for download.
        model: Name of the network in timm.
        sha256: SHA-256 of the file, in hexadecimal digits, if it is known.
        device: Device of the network; None: a GPU if there is one.

    Attributes:
        width: Length of an embedding.

    Raises:
        ModuleNotFoundError: It needs timm and torchvision, and one of them is missing.
        ValueError: The file is missing, is not the expected one, or holds other weights.

    Source: Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023.
    """

    def __init__(
        self,
        weights: str | Path,
        model: str = "vit_small_patch14_dinov2.lvd142m",
        sha256: str | None = None,
        device: str | None = None,
    ) -> None:
        timm = import_timm()
        path = _checked(Path(weights).expanduser(), sha256)
        options = {"img_size": PICTURE_SIZE} if model.startswith("vit_") else {}
        source = {"file": str(path)}
        try:
            self.network: Any = timm.create_model(
                model, pretrained=True, pretrained_cfg_overlay=source, num_classes=0, **options
            )
        except (RuntimeError, KeyError) as error:
            cause = str(error).splitlines()[0]
            raise ValueError(f"'{path}' does not hold the weights of timm's '{model}': {cause}") from None

        # its inputs
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network.to(self.device).eval().requires_grad_(False)
        self.width: int = self.network.num_features
        known = self.network.pretrained_cfg
        self.mean, self.std = (torch.tensor(known[name], device=self.device).view(3, 1, 1) for name in ("mean", "std"))

    @torch.no_grad()
    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embedding `[width]` of a picture `[height, width, 3]`, RGB."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).to(self.device).permute(2, 0, 1) / 255
        embedding: Tensor = self.network(self._resized((pixels - self.mean) / self.std))
        return embedding[0].float().cpu().numpy()

    def _resized(self, pixels: Tensor) -> Tensor:
        """Return the picture as a batch of one, `[1, 3, PICTURE_SIZE, PICTURE_SIZE]`."""
        batch = pixels.unsqueeze(0)
        size = (PICTURE_SIZE, PICTURE_SIZE)
        if batch.shape[-2:] == size:
            return batch
        return nn.functional.interpolate(batch, size, mode="bicubic", antialias=True)


def _checked(path: Path, sha256: str | None) -> Path:
    """Return the path of a file of weights that no code can be in, if it is the expected one."""
    if path.suffix != ".safetensors" or not path.is_file():
        raise ValueError(f"weights are expected as a .safetensors file of this machine, got '{path}'")
    if sha256 is not None:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != sha256.lower():
            raise ValueError(f"'{path}' has SHA-256 {actual}, expected {sha256}; download it again")
    return path
