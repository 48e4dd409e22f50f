"""What is observed, as one vector: pictures through a convolutional network, vectors through their normalisation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from mile.policies.networks import ObservationNormalizer
from mile.policies.vision import resnet18
from mile.transitions import VECTOR

LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, width and stride of each convolution
BRIGHTEST = 255
AT_A_TIME = 256  # stacks, where no gradient is needed


class PictureEncoder(nn.Module):
    """A convolutional network from a stack of pictures to a vector, trained with whatever follows it.

    Args:
        shape: Shape of a stack: pictures, height, width, channels; pixels, at least 36 × 36.
        width: Length of the vector.
        kind: "small", the network of the source below, or "resnet18"; see `mile.policies.vision.resnet18`.

    Raises:
        ValueError: The shape has not four numbers, pictures are too small for the network, or the kind is unknown.

    Source: Mnih et al., "Human-level control through deep reinforcement learning", Nature 2015.
    """

    def __init__(self, shape: Sequence[int], width: int = 256, kind: Literal["small", "resnet18"] = "small") -> None:
        super().__init__()
        if kind not in ("small", "resnet18"):
            raise ValueError(f"an encoder's kind must be small or resnet18, got '{kind}'")
        self.shape = torch.Size(shape)
        self.width = width
        if len(self.shape) != 4:
            raise ValueError(f"a stack's shape must be (pictures, height, width, channels), got {tuple(shape)}")
        pictures, *size, channels = self.shape

        channels *= pictures
        if kind == "resnet18":
            self.network = nn.Sequential(resnet18(channels, width), nn.ReLU())
            return

        # convolutions
        layers: list[nn.Module] = []
        for filters, kernel, stride in LAYERS:
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.ReLU()]
            channels, size = filters, [(side - kernel) // stride + 1 for side in size]
        if min(size) < 1:
            raise ValueError(f"pictures must have at least 36 x 36 pixels, got {self.shape[1]} x {self.shape[2]}")

        self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(size), width), nn.ReLU())

    def forward(self, pictures: Tensor) -> Tensor:
        """Return vectors `[*batch, width]` for stacks of pictures, `[*batch, *shape]` uint8, oldest first."""
        batch = pictures.shape[:-4]
        if pictures.shape[-4:] != self.shape or pictures.dtype != torch.uint8:
            raise ValueError(
                f"pictures of the shape {tuple(self.shape)} and the type uint8 are expected, got "
                f"{tuple(pictures.shape[len(batch) :])} and {str(pictures.dtype).removeprefix('torch.')}"
            )
        stacks = pictures.reshape(-1, *self.shape)
        if torch.is_grad_enabled():
            return self._encode(stacks).reshape(*batch, self.width)

        # a few at a time, because there may be whole recordings of them
        vectors = [self._encode(part) for part in stacks.split(AT_A_TIME)]
        return torch.cat(vectors).reshape(*batch, self.width)

    def _encode(self, stacks: Tensor) -> Tensor:
        first: Any = self.network[0]
        weight = getattr(first, "conv1", first).weight  # a ResNet's, or the first convolution's own
        pixels = stacks.to(weight.dtype) / BRIGHTEST
        return self.network(pixels.permute(0, 1, 4, 2, 3).flatten(1, 2))


class Observer(nn.Module):
    """The first layers of every network: what is observed becomes one vector.

    Args:
        observation_dim: Length of all observed vectors together.
        pictures: Arguments of a `PictureEncoder` for each observed entry that is a picture, by name.

    Attributes:
        in_keys: Entries of a step that are observed, in the order of the inputs. Vectors may be other ones than those
            that a network was made with, such as "state" for "observation", where a simulated human sees more.
        pictures: Those of them that are pictures.
    """

    in_keys: tuple[str, ...]

    def __init__(self, observation_dim: int, pictures: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        super().__init__()
        pictures = pictures or {}
        self.in_keys = (*pictures, *(VECTOR if observation_dim else ()))
        self.pictures = tuple(pictures)
        self.normalizer = ObservationNormalizer(observation_dim)
        encoders = {name: PictureEncoder(**options) for name, options in pictures.items()}
        self.encoders = nn.ModuleDict(encoders)
        self.embedding_dim = observation_dim + sum(encoder.width for encoder in encoders.values())

    def encode(self, *inputs: Tensor) -> Tensor:
        """Return one vector `[*batch, width]` for all observed pictures; the inputs are as for `embed`."""
        named = zip(self.in_keys, inputs, strict=True)
        return torch.cat([self.encoders[name](value) for name, value in named if name in self.pictures], -1)

    def share_encoders(self, other: "Observer") -> None:
        """Encode pictures by another network's encoders from now on: one `encode` serves both.

        Raises:
            ValueError: The networks do not observe the same pictures through encoders of the same sizes.
        """
        own, others = self._sizes(), other._sizes()
        if not own or own != others:
            raise ValueError(
                f"a shared encoder needs the same pictures and widths in both networks, got {own} and {others}; choose "
                "mental_model.student.encoder.width, or method.encoder=own"
            )
        self.encoders = other.encoders

    def _sizes(self) -> dict[str, Any]:
        """Return shape and width of the encoder of each picture."""
        encoders: Any = self.encoders
        return {name: (tuple(encoder.shape), encoder.width) for name, encoder in encoders.items()}

    def embed(self, *inputs: Tensor, encoded: Tensor | None = None) -> Tensor:
        """Return one vector `[*batch, embedding_dim]` for the observed entries, in the order of `in_keys`.

        Args:
            inputs: Observed entries.
            encoded: What `encode` returned for their pictures; None: they are encoded here.

        Raises:
            ValueError: The inputs are not those of `in_keys`.
        """
        if len(inputs) != len(self.in_keys):
            raise ValueError(f"{len(self.in_keys)} inputs are expected ({', '.join(self.in_keys)}), got {len(inputs)}")
        if len(inputs) == 1 and not self.pictures:
            return self.normalizer(inputs[0])

        # pictures first, then all vectors together
        parts = []
        if self.pictures:
            parts.append(self.encode(*inputs) if encoded is None else encoded)
        vectors = [value for name, value in zip(self.in_keys, inputs, strict=True) if name not in self.pictures]
        if vectors:
            parts.append(self.normalizer(torch.cat(vectors, -1)))
        return torch.cat(parts, -1)

    def inputs(self, steps: TensorDictBase) -> list[Tensor]:
        """Return the observed entries of steps `[*batch]`, in the order of `in_keys`; vectors in the weights' type.

        Raises:
            ValueError: The steps lack an entry.
        """
        values = []
        for name in self.in_keys:
            value = steps.get(name, None)
            if value is None:
                observed = ", ".join(sorted(str(key) for key in steps.keys()))
                raise ValueError(f"'{name}' is observed here, and these steps have only {observed}")
            values.append(value.to(self.normalizer.mean.dtype) if value.is_floating_point() else value)
        return values

    def inputs_at(self, steps: TensorDictBase, rows: Tensor) -> list[Tensor]:
        """Return the observed entries in some rows of recorded steps, pictures as stacks of the newest ones.

        Args:
            steps: Steps of whole episodes, one after another, `[steps]`; pictures are `[steps, height, width,
                channels]`.
            rows: Rows, `[*batch]`.
        """
        chosen: Any = steps.select(*self.in_keys)[rows]
        for name in self.pictures:
            age = torch.arange(self.encoders[name].shape[0] - 1, -1, -1)  # pyright: ignore
            before = torch.minimum(age, steps["step"][rows].unsqueeze(-1))  # none from before the episode
            chosen[name] = steps[name][rows.unsqueeze(-1) - before]
        return self.inputs(chosen)

    def batch_shape(self, *inputs: Tensor) -> torch.Size:
        """Return the batch dimensions of the observed entries, as `in_keys` has them."""
        dimensions = 4 if self.in_keys[0] in self.pictures else 1
        return inputs[0].shape[:-dimensions]

    def fit_normalizer(self, steps: TensorDictBase) -> None:
        """Set the normalisation of vectors to the statistics of some steps, `[steps]`."""
        vectors = [steps[name] for name in self.in_keys if name not in self.pictures]
        if vectors:
            self.normalizer.fit(torch.cat(vectors, -1))
