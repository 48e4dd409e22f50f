"""A person who looks on, and says whether the robot succeeded."""

from torch import Tensor

from mile.humans.human import Decision, Human
from mile.humans.person import Person


class Spectator(Human):
    """Has a person judge episodes in which they cannot take control: where nobody else knows what success is.

    Args:
        person: at a console.
    """

    def __init__(self, person: Person) -> None:
        self.person = person

    def decide(self, observation: Tensor, noise: Tensor | None = None) -> Decision:
        """Have them see the state; see `Human.decide`."""
        before, self.person.watching = self.person.watching, True
        self.person.title = "Does the robot succeed? Y or N"
        try:
            return self.person.decide(observation, noise)
        finally:
            self.person.watching, self.person.title = before, None

    def begin(self) -> None:
        """Have the next episode wait for them."""
        self.person.begin()

    def judge(self, executed_action: Tensor) -> bool | None:
        """Return their verdict; see `Human.judge`."""
        return self.person.judge(executed_action)
