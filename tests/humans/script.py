from mile.humans.controls import Controls


class Script:
    """A console whose person follows a script.

    Args:
        controls: Keys that are pressed, for each step that is recorded.
        commands: Commands, by step.
        away: Steps before which the person leaves the console.
    """

    def __init__(self, controls=(), commands=(), away=()):
        self.plan = list(controls)
        self.orders = dict(commands)
        self.away = set(away)
        self.reads = 0
        self.shown = []

    def show(self, status, frame=None):
        self.shown.append((status, frame))

    def controls(self):
        status = self.shown[-1][0]
        if status["phase"] != "playing" or status["title"]:  # a recorded episode has no title
            return Controls()
        self.reads += 1
        if self.reads > len(self.plan):
            return Controls()
        return Controls(frozenset(self.plan[self.reads - 1]))

    def commands(self):
        if not self.shown:
            return []
        if self.shown[-1][0]["phase"] != "playing":
            self.away.discard(self.reads)
            return ["start"]
        return [self.orders.pop(self.reads)] if self.reads in self.orders else []

    def present(self):
        return self.reads not in self.away

    def answers(self):
        form = self.shown[-1][0].get("form") if self.shown else None
        if form is None:
            return None
        return {field["name"]: answer(field) for field in form["fields"]}

    def close(self):
        pass


def answer(field):
    """Return the answer of a participant without opinions."""
    if field["kind"] == "scale":
        return (field["low"] + field["high"]) // 2
    if field["kind"] == "choice":
        return field["options"][0]
    return ""
