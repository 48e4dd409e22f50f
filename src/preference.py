"""Preferences: how probable is it that one score is found better than another?"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.special import log_ndtr

Link = Literal["probit", "logit"]
LINKS = {"probit": log_ndtr, "logit": logsigmoid}


def preference_log_prob(
    score: Float[Tensor, "*batch"],
    comparator: Float[Tensor, "*batch"],
    cost: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
    link: Link = "logit",
) -> Float[Tensor, "*batch"]:
    """Return ln F((score − comparator − cost) / scale), the log-probability that the scored action is preferred.

    One family has several published rules. MILE's Eq. 1 and its joint likelihood: a probit, the score ln π(a_h|s), and
    as the comparator what is expected of the robot. PPL: a logit of what a human did, against what the robot would have
    done. APO: a logit against a batch's mean, of which it takes the probability itself.

    Args:
        score: Score of the action.
        comparator: Score that it is compared with.
        cost: Least advantage that counts, in units of the scores; or one for each state, `[*batch]`.
        scale: Scale of the link F, in the same units, above 0.
        link: "probit": F is the normal distribution function Φ; "logit": F is the logistic function.

    Raises:
        ValueError: The link is unknown.
    """
    if link not in LINKS:
        raise ValueError(f"link must be one of {', '.join(LINKS)}, got '{link}'")
    return LINKS[link]((score - comparator - cost) / scale)
