"""A person who watches, and judges whether the robot succeeded."""

from tensordict import TensorDictBase
from torch import Tensor

from mile.humans.human import Decision, Human
from mile.humans.person import Person


class Spectator(Human):
    """Lets a person judge episodes without taking control, for tasks whose success only a person can tell.

    Args:
        person: Person at a console.
    """

    def __init__(self, person: Person) -> None:
        self.person = person

    def decide(self, step: TensorDictBase) -> Decision:
        """Show the state to the person, who does not intervene; see `Human.decide`."""
        before = self.person.watching
        self.person.watching = True
        self.person.title = "Does the robot succeed? Y or N"
        try:
            return self.person.decide(step)
        finally:
            self.person.watching, self.person.title = before, None

    def begin(self, copies: Tensor | None = None) -> None:
        """Called before an episode's first observation; see `Human.begin`."""
        self.person.begin(copies)

    def judge(self, executed_action: Tensor) -> bool | None:
        """Return the person's verdict; see `Human.judge`."""
        return self.person.judge(executed_action)
