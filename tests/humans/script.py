from mile.humans.controls import Controls


class Script:
    """A console whose person does what is written for each step that is recorded."""

    def __init__(self, controls=(), commands=(), away=()):
        self.plan, self.orders, self.away = list(controls), dict(commands), set(away)
        self.reads = 0
        self.seen = []

    def show(self, status, frame=None):
        self.seen.append((status, frame))

    def controls(self):
        status = self.seen[-1][0]
        if status["phase"] != "playing" or status["title"]:  # what is recorded has none
            return Controls()
        self.reads += 1
        return Controls(frozenset(self.plan[self.reads - 1])) if self.reads <= len(self.plan) else Controls()

    def commands(self):
        if not self.seen:
            return []
        if self.seen[-1][0]["phase"] != "playing":
            self.away.discard(self.reads)
            return ["start"]
        return [self.orders.pop(self.reads)] if self.reads in self.orders else []

    def present(self):
        return self.reads not in self.away

    def answers(self):
        form = self.seen[-1][0].get("form") if self.seen else None
        return form and {field["name"]: answer(field) for field in form["fields"]}

    def close(self):
        pass


def answer(field):
    """What a participant without opinions answers."""
    if field["kind"] == "scale":
        return (field["low"] + field["high"]) // 2
    return field["options"][0] if field["kind"] == "choice" else ""
