"""People to test models in time with: random policies in random states, and every model at some parameters."""

import torch
from torch.distributions import Categorical, Independent, Normal

from mile.timing import Accumulating, Attempts, Believing, Delayed, Gap, Memoryless, Sticky, Tired
from mile.timing.believing import knows_nothing, stack_hypotheses

COST, SCALE = 1.5, 0.8
MODELS = {
    "memoryless": Memoryless(),
    "sticky": Sticky(release_cost=-0.5),
    "delayed": Delayed(release_cost=-0.5, median_delay=1.6, longest_delay=4),
    "accumulating": Accumulating(release_cost=-0.5, leak=0.3),
    "believing": Believing(release_cost=-0.5, prior=(0.5, 0.3, 0.2), memory=0.9),
    "tired": Tired(cost_per_step=0.4),
}


def gaussians(*shape, dims=2):
    """Return a diagonal Gaussian policy with random means and widths, float64."""
    mean = torch.randn(*shape, dims, dtype=torch.float64)
    return Independent(Normal(mean, (0.3 * torch.randn_like(mean)).exp()), 1)


def categoricals(*shape, actions=3):
    """Return a categorical policy with random logits, float64."""
    return Categorical(logits=torch.randn(*shape, actions, dtype=torch.float64))


def gap_of(name, *shape, make=gaussians):
    """Return a random gap for a model, by its name."""
    human, robot = make(*shape), make(*shape)
    if name == "believing":
        robot = stack_hypotheses([robot, make(*shape), knows_nothing(robot)])
    return Gap(human, robot, SCALE)


def expand(gap, *shape):
    """Return a gap that is the same in further batch dimensions in front."""
    human = gap.human.expand(torch.Size([*shape, *gap.human.batch_shape]))
    robot = gap.mental_model.expand(torch.Size([*shape, *gap.mental_model.batch_shape]))
    return gap._replace(human=human, mental_model=robot)


def attempts_of(intervened, valid=None, actions=None):
    """Return attempts with random executed actions that do not depend on ν."""
    valid = torch.ones_like(intervened) if valid is None else valid
    return Attempts(intervened, valid, actions)
