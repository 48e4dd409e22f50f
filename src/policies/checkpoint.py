"""Policies on disk: weights as safetensors (no code is unpickled) beside a JSON that says what they are."""

import hashlib
import json
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from mile.files import write_bytes, write_text
from mile.policies.categorical import CategoricalPolicy
from mile.policies.gaussian import GaussianPolicy
from mile.policies.policy import Policy

KINDS: dict[str, type[Policy]] = {"CategoricalPolicy": CategoricalPolicy, "GaussianPolicy": GaussianPolicy}


class CheckpointError(ValueError):
    """A policy's checkpoint that is missing, damaged, or not the one that was asked for."""


def save_policy(policy: Policy, path: str | Path, *, environment: str, **facts: Any) -> Path:
    """Write `path`.safetensors and `path`.json.

    Args:
        policy: what to save, its observation normalisation included.
        path: without or with the suffix `.safetensors`.
        environment: name of the environment that the policy acts in.
        facts: further JSON entries, such as `seed`, `command`, `training_steps`, `evaluation`.

    Returns:
        The path of the weights.
    """
    weights = Path(path) if Path(path).suffix == ".safetensors" else Path(f"{path}.safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    content = save({name: tensor.contiguous() for name, tensor in policy.state_dict().items()})
    description = {
        "policy": type(policy).__name__,
        "architecture": policy.architecture,
        "environment": environment,
        "sees": policy.sees,
        **facts,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_bytes(weights, content)
    write_text(weights.with_suffix(".json"), json.dumps(description, indent=2) + "\n")
    return weights


def find_checkpoint(name: str | Path) -> Path:
    """Return the weights' path for the name of a policy that ships (`lunarlander/expert`), or for a path.

    A name that ships means the policy that ships; a file of that name needs a `./` before it, as a warning then says.

    Raises:
        CheckpointError: There is neither.
    """
    shipped = Path(str(files("mile.checkpoints")))
    names = sorted(path.relative_to(shipped).with_suffix("").as_posix() for path in shipped.rglob("*.safetensors"))
    own = Path(name) if Path(name).suffix == ".safetensors" else Path(f"{name}.safetensors")
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
    """Return the JSON beside a checkpoint.

    Raises:
        CheckpointError: there is no such checkpoint, no JSON beside it, or it is no JSON.
    """
    path = find_checkpoint(name).with_suffix(".json")
    try:
        description = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"'{path}' is missing: it holds the architecture of the weights beside it") from None
    except ValueError as error:
        raise CheckpointError(f"'{path}' is not valid JSON ({error}); restore it or train the policy again") from None
    if not isinstance(description, dict):
        raise CheckpointError(f"'{path}' must hold a JSON object, got {description!r}")
    return description


def load_policy(
    name: str | Path, environment: str | None = None, sees: str | None = None, **architecture: Any
) -> Policy:
    """Build a policy from its checkpoint.

    Args:
        name: a path, or the name of a policy that ships: "lunarlander/expert".
        environment: refuse a policy that was made for another environment.
        sees: the entry of a step that it acts on, see `Policy`; None: the one it was made for.
        architecture: entries to replace in the stored architecture, such as `temperature`.

    Returns:
        The policy.

    Raises:
        CheckpointError: the file is missing or damaged, its hash differs from the JSON's, or its architecture
            or environment is another one.
    """
    path, description = find_checkpoint(name), describe_checkpoint(name)
    if missing := {"policy", "architecture", "environment", "sha256"} - description.keys():
        raise CheckpointError(f"'{path.with_suffix('.json')}' lacks {', '.join(sorted(missing))}")
    if environment is not None and description["environment"] != environment:
        raise CheckpointError(
            f"'{path}' was made for environment '{description['environment']}', expected '{environment}'"
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != description["sha256"]:
        raise CheckpointError(
            f"'{path}' is damaged or not the one described: SHA-256 expected {str(description['sha256'])[:12]}…, "
            f"got {digest[:12]}… ({len(content)} bytes); copy or train it again"
        )
    if description["policy"] not in list(KINDS):
        raise CheckpointError(f"'{path}' holds a '{description['policy']}', expected one of {', '.join(KINDS)}")
    try:
        policy = KINDS[description["policy"]](**(description["architecture"] | architecture))
        policy.load_state_dict(load(content))
    except (RuntimeError, TypeError, SafetensorError) as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"'{path}' does not hold the {description['policy']} {description['architecture']} of its JSON: {first}"
        ) from None
    if not all(value.isfinite().all() for value in policy.state_dict().values()):
        raise CheckpointError(f"'{path}' holds weights that are not finite; train the policy again")
    policy.sees = sees or description.get("sees", policy.sees)
    return policy
