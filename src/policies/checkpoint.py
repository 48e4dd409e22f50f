"""Policies on disk: weights as safetensors (no code is unpickled) beside a JSON file that describes them."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from mile.files import write_bytes, write_text
from mile.policies.policy import KINDS, Policy, build

REQUIRED = {"policy", "architecture", "environment", "sha256"}  # entries of the JSON


class CheckpointError(ValueError):
    """A policy's checkpoint that is missing, damaged, or not the one that was asked for."""


def save_policy(policy: Policy, path: str | Path, *, environment: str, **facts: Any) -> Path:
    """Write `path`.safetensors and `path`.json.

    Args:
        policy: Policy to save, its observation normalisation included.
        path: Path of the weights, with or without the suffix `.safetensors`.
        environment: Name of the environment that the policy acts in.
        facts: Further JSON entries, such as `seed`, `command`, `training_steps`, `evaluation`.

    Returns:
        The path of the weights.
    """
    weights = _with_suffix(path)
    weights.parent.mkdir(parents=True, exist_ok=True)

    content = save({name: tensor.contiguous() for name, tensor in policy.state_dict().items()})
    description = {
        **policy.describe(),
        "environment": environment,
        **facts,
        "sha256": hashlib.sha256(content).hexdigest(),
    }

    write_bytes(weights, content)
    write_text(weights.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    return weights


def find_checkpoint(name: str | Path) -> Path:
    """Return the weights' path for the name of a policy that ships (`lunarlander/expert`), or for a path.

    The name of a policy that ships always means that policy. A file of the same name needs a `./` before it, as a
    warning then says.

    Raises:
        CheckpointError: There is neither.
    """
    shipped = Path(str(files("mile.checkpoints")))
    names = sorted(path.relative_to(shipped).with_suffix("").as_posix() for path in shipped.rglob("*.safetensors"))
    own = _with_suffix(name)

    if str(name).removesuffix(".safetensors") in names:
        if own.is_file():
            warnings.warn(f"'{name}' is the policy that ships; the file '{own}' is './{own}'", stacklevel=2)
        return shipped / own

    if own.is_file():
        return own
    raise CheckpointError(
        f"no checkpoint at '{name}'; give a path to a .safetensors file or one of: {', '.join(names)}"
    )


def describe_checkpoint(name: str | Path) -> dict[str, Any]:
    """Return the JSON object beside a checkpoint.

    Raises:
        CheckpointError: There is no such checkpoint, no JSON file beside it, or the file is not valid.
    """
    path = find_checkpoint(name).with_suffix(".json")

    try:
        description = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"'{path}' is missing: it holds the architecture of the weights beside it") from None
    except ValueError as error:
        raise CheckpointError(f"'{path}' is not valid JSON ({error}); restore it or train the policy again") from None

    if not isinstance(description, dict):
        raise CheckpointError(
            f"'{path}' must hold a JSON object, got {description!r}; restore it or train the policy again"
        )
    return description


def load_policy(
    name: str | Path, environment: str | None = None, in_keys: Sequence[str] | None = None, **architecture: Any
) -> Policy:
    """Build a policy from its checkpoint.

    Args:
        name: Path, or the name of a policy that ships: "lunarlander/expert".
        environment: Environment that the policy must have been made for; None: any.
        in_keys: Entries of a step that the policy acts on, see `Policy`; None: those that it was made for.
        architecture: Entries to replace in the stored architecture, such as `temperature`.

    Returns:
        The policy.

    Raises:
        CheckpointError: The file is missing or damaged, its hash differs from the JSON's, or its architecture
            or environment is another one.
    """
    # check the files
    path, description = find_checkpoint(name), describe_checkpoint(name)
    _check_description(description, path, environment)
    content = path.read_bytes()
    _check_hash(content, path, description["sha256"])
    if description["policy"] not in list(KINDS):  # a list, because what a file holds may not be hashable
        raise CheckpointError(f"'{path}' holds a '{description['policy']}', expected one of {', '.join(KINDS)}")

    # build the policy
    try:
        policy = build({**description, "architecture": description["architecture"] | architecture})
        policy.load_state_dict(load(content))
    except (RuntimeError, TypeError, SafetensorError) as error:
        cause = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"'{path}' does not hold the {description['policy']} {description['architecture']} of its JSON: {cause}"
        ) from None

    if not all(value.isfinite().all() for value in policy.state_dict().values()):
        raise CheckpointError(f"'{path}' holds weights that are not finite; train the policy again")
    policy.in_keys = policy.in_keys if in_keys is None else tuple(in_keys)
    return policy


def _with_suffix(path: str | Path) -> Path:
    """Return the path with the suffix `.safetensors`; a dot in a name does not begin another suffix."""
    return Path(path) if Path(path).suffix == ".safetensors" else Path(f"{path}.safetensors")


def _check_description(description: dict[str, Any], path: Path, environment: str | None) -> None:
    """Raise CheckpointError unless a description is complete, and of a policy for the environment."""
    missing = REQUIRED - description.keys()
    if missing:
        raise CheckpointError(
            f"'{path.with_suffix('.json')}' lacks {', '.join(sorted(missing))}; restore it or train the policy again"
        )

    if environment is not None and description["environment"] != environment:
        raise CheckpointError(
            f"'{path}' was made for environment '{description['environment']}', expected '{environment}'"
        )


def _check_hash(content: bytes, path: Path, expected: Any) -> None:
    """Raise CheckpointError unless the weights have the SHA-256 hash that the JSON states."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise CheckpointError(
            f"'{path}' is damaged or not the one described: SHA-256 expected {str(expected)[:12]}…, "
            f"got {digest[:12]}… ({len(content)} bytes); copy or train it again"
        )
