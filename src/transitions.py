"""One time step as it is recorded: its entries, and the check of them.

A recording is a TensorDict of batch size `[steps]` in which everything at index t belongs to step t.
"""

from collections.abc import Sequence

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

DEMONSTRATION = -1  # the `round` of episodes that a human acted in alone, before the first deployment
NO_ACTION = -1  # a discrete human_action where the human did not act; NaN if actions are continuous

# Entry: shape of one step (without what the environment decides), unit or meaning. In the place of `observation` there
# are other entries where an environment shows pictures (`pixels`, [height, width, channels] uint8), or several things
# by name; each has its follower under "next".
ENTRIES = {
    "observation": "[observation_dim], what is observed, where an environment shows one vector",
    "robot_action": "[action_dim] or [], what the robot proposed; NaN (discrete: -1) where ν=1 and nobody recorded it",
    "human_action": "like robot_action, what the human did; NaN (discrete: -1) where they did not act",
    "intervened": "[] bool, ν",
    "executed_action": "like robot_action, what the environment got, after clipping",
    "attended": "[] bool, whether a human could have intervened",
    "asked": "[] bool, whether a gate had asked a human to act",
    "intervention_prob": "[], p(ν=1|s), of a simulated human; with a person the learner's prediction, NaN without one",
    ("next", "observation"): "[observation_dim], of the following step",
    ("next", "reward"): "[], the environment's own, for evaluation only",
    ("next", "terminated"): "[] bool, the task ended",
    ("next", "truncated"): "[] bool, time was up",
    ("next", "success"): "[] bool, this step solved the task",
    "episode": "[] int64, number of the episode within the recording",
    "round": "[] int64, deployment round i of Algorithm 1, from 0; -1 in demonstrations",
    "step": "[] int64, number of the step within its episode",
    "timestamp": "[] float64, s since the epoch, when the step was recorded",
}

# entries of environments that report them; those of the following step are under "next"
REPORTED = {
    "state": "[state_dim], what the simulated human sees, where that is not the observation; NaN where nobody knows",
    "frame": "[mile.envs.frames.FRAME_BYTES] uint8, the picture, as JPEG",
}
# entries that earlier recordings lack, and what was true of them
LATER = {"attended": True, "asked": False}
# entries of a robot that decides on several actions at once
OF_CHUNKS = {
    "remaining": "[] int64, actions that were still to be executed before the robot looked again, with this one"
}
# entries of a human who corrects without an action: where ν=1 and nothing else is said, they stopped the robot
OF_CORRECTIONS = {
    "direction": "[action_dim], which way the human wanted the robot to move, of length 1; NaN where they did not say"
}
OPTIONAL = set(REPORTED) | {("next", key) for key in REPORTED} | OF_CHUNKS.keys() | OF_CORRECTIONS.keys()

VECTOR = ("observation",)
OF_EVERY_STEP = tuple(key for key in ENTRIES if key not in (*VECTOR, ("next", *VECTOR)))
FINITE = ("robot_action", "executed_action", ("next", "reward"))  # and what is observed


class TransitionError(ValueError):
    """Recorded steps that break the rules above."""


def check_transitions(steps: TensorDictBase) -> TensorDictBase:
    """Return the steps unchanged if they are as described here.

    Raises:
        TransitionError: An entry is missing or unknown, a number is not finite, or entries contradict each other.
    """
    if not len(steps):
        raise TransitionError("at least one step is expected, got none")

    # entries
    present, names = set(steps.keys(True, True)) - OPTIONAL, observed(steps)
    following = {("next", name) for name in names}
    expected = set(OF_EVERY_STEP) | set(names or VECTOR) | following
    if present != expected:
        missing, unknown = sorted(map(str, expected - present)), sorted(map(str, present - expected))
        raise TransitionError(f"steps lack {missing} and have unknown {unknown}")

    # finite numbers; a robot's action may be unknown where a human acted
    unrecorded = ~proposed(steps) & steps["intervened"]
    for key in (*FINITE, *names, *following):
        if not steps[key].is_floating_point():
            continue
        infinite = (~torch.isfinite(steps[key])).reshape(len(steps), -1).any(-1)  # [steps]
        if key == "robot_action":
            infinite &= ~unrecorded
        if infinite.any():
            first = infinite.nonzero()[0, 0]
            raise TransitionError(f"'{key}' must be finite, got {steps[key][first].tolist()} at step {first}")

    # human_action and ν
    by_human, corrects = acted(steps["human_action"]), "direction" in steps.keys()
    if not corrects and not torch.equal(by_human, steps["intervened"]):
        raise TransitionError("'human_action' must be given exactly where 'intervened' is true")
    if corrects and (by_human & ~steps["intervened"] | directed(steps) & (by_human | ~steps["intervened"])).any():
        raise TransitionError("'human_action' or 'direction' may be given where 'intervened' is true, and not both")

    # robot_action and ν
    missing = (~proposed(steps) & ~steps["intervened"]).nonzero()
    if len(missing):
        raise TransitionError(
            f"'robot_action' must be there where 'intervened' is false, is not at step {missing[0, 0]}"
        )

    # ν, and who could have caused it
    if (steps["intervened"] & ~steps["attended"]).any() or (steps["asked"] & ~steps["attended"]).any():
        raise TransitionError("'intervened' and 'asked' may be true only where 'attended' is")
    return steps


def observed(steps: TensorDictBase) -> tuple[str, ...]:
    """Return the names of the entries that are observed, in alphabetical order."""
    names = {key for key in steps.keys() if isinstance(key, str)}
    others = {*OF_EVERY_STEP, *REPORTED, *OF_CHUNKS, *OF_CORRECTIONS, "next"}
    return tuple(sorted(names - others))


def is_picture(value: Tensor) -> bool:
    """Return whether an entry of steps `[steps]` holds pictures, `[steps, height, width, channels]` uint8."""
    return value.dtype == torch.uint8 and value.ndim == 4


def no_action(robot_action: Tensor) -> Tensor:
    """Return a human_action of the same shape that says: the human did not act."""
    return torch.full_like(robot_action, torch.nan if robot_action.dtype.is_floating_point else NO_ACTION)


def acted(human_action: Tensor) -> Tensor:
    """Return where the human acted, `[*batch]` bool, read off the action."""
    if human_action.dtype.is_floating_point:
        return ~human_action.isnan().any(-1)
    return human_action != NO_ACTION


def directed(steps: TensorDictBase) -> Tensor:
    """Return where a human said which way the robot should move, `[*batch]` bool: nowhere, if the steps do not say."""
    if "direction" not in steps.keys():
        return torch.zeros_like(steps["intervened"])
    return acted(steps["direction"])


def proposed(steps: TensorDictBase) -> Tensor:
    """Return where it is recorded what the robot proposed, `[*batch]` bool; in others' recordings not where ν=1."""
    return acted(steps["robot_action"])


def with_proposals(steps: TensorDictBase) -> TensorDictBase:
    """Put the human's action, in place, where nobody recorded what the robot proposed; return the same steps.

    No method that learns from such steps uses it there (`mile.methods.Method.needs_proposals`); a number in its place
    keeps densities and gradients finite.
    """
    if {"robot_action", "human_action"} <= set(steps.keys()):
        known = proposed(steps)
        if not known.all():
            known = known.reshape(known.shape + (1,) * (steps["robot_action"].ndim - known.ndim))
            steps["robot_action"] = torch.where(known, steps["robot_action"], steps["human_action"])
    return steps


def attended(steps: TensorDictBase) -> Tensor:
    """Return where a human could have intervened, `[*batch]` bool: everywhere, if the steps do not say."""
    return steps.get("attended", torch.ones_like(steps["intervened"]))


def asked(steps: TensorDictBase) -> Tensor:
    """Return where a gate had asked a human to act, `[*batch]` bool: nowhere, if the steps do not say."""
    return steps.get("asked", torch.zeros_like(steps["intervened"]))


def onsets(where: Tensor, step: Tensor) -> Tensor:
    """Return where a run of steps with a condition begins, `[steps]` bool.

    Args:
        where: Whether the condition holds, `[steps]`, of whole episodes, each in order.
        step: Number of the step within its episode, `[steps]`.
    """
    before = torch.cat([torch.zeros_like(where[:1]), where[:-1]]) & (step > 0)
    return where & ~before


def decided(steps: TensorDictBase) -> Tensor:
    """Return where a human decided whether to intervene, `[*batch]` bool: they attended, and nobody had asked them.

    Only there does ν=0 say that they agreed, and ν=1 that they did not.
    """
    return attended(steps) & ~asked(steps)


def action_taken(steps: TensorDictBase) -> Tensor:
    """Return the human's action where they acted, and the robot's own elsewhere, in the form of both."""
    by_human, robot_action = acted(steps["human_action"]), steps["robot_action"]
    mask = by_human.reshape(by_human.shape + (1,) * (robot_action.dim() - by_human.dim()))
    return torch.where(mask, steps["human_action"], robot_action)


def remaining(steps: TensorDictBase) -> Tensor:
    """Return how many actions the robot was still to execute before it looked again, `[*batch]` int64: 1 by default."""
    if "remaining" in steps.keys():
        return steps["remaining"]
    return torch.ones(steps.batch_size, dtype=torch.int64, device=steps.device)


def next_actions(action: Tensor, steps: TensorDictBase, rows: Tensor, count: int) -> Tensor:
    """Return what was done from some rows on, as long as the same one acted, `[*batch, count, action_dim]`.

    Args:
        action: Action of each step, `[steps, action_dim]` or `[steps]`.
        steps: Recorded steps `[steps]`, of whole episodes, one after another.
        rows: Rows, `[*batch]`.
        count: Number of actions.

    Returns:
        The actions; NaN, or −1 if discrete, where the episode is over or another one acts.
    """
    later = rows.unsqueeze(-1) + torch.arange(count, device=rows.device)  # [*batch, count]
    inside = later < len(steps)
    later = later.clamp_max(len(steps) - 1)
    step, intervened = steps["step"], steps["intervened"]
    same_episode = step[later] == step[rows].unsqueeze(-1) + torch.arange(count, device=rows.device)
    same_actor = intervened[later] == intervened[rows].unsqueeze(-1)
    there = (inside & same_episode & same_actor).cummin(-1).values
    actions = action[later]
    return torch.where(there.reshape(there.shape + (1,) * (action.ndim - 1)), actions, no_action(actions))


def for_torchrl(steps: TensorDictBase, in_keys: Sequence[str], reward: Tensor) -> TensorDict:
    """Return recorded steps `[steps]` in the form of TorchRL's losses.

    Args:
        steps: Recorded steps, of which the executed action becomes the action.
        in_keys: Entries that are observed.
        reward: Reward of each step in place of the recorded one, `[steps]`.
    """
    # TorchRL's form of a scalar is [steps, 1]
    terminated = steps["next", "terminated"].unsqueeze(-1)
    truncated = steps["next", "truncated"].unsqueeze(-1)
    outcome = {
        "terminated": terminated,
        "truncated": truncated,
        "done": terminated | truncated,
        "reward": reward.unsqueeze(-1),
    }

    transitions = TensorDict({"action": steps["executed_action"], "next": outcome}, steps.batch_size)
    for name in in_keys:
        transitions[name], transitions["next", name] = steps[name], steps["next", name]
    return transitions
