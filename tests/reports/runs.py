"""Rows of runs that did not take place."""

from mile.reports.outcomes import Outcome


def outcome(method, seed, score, round_=1, interventions=100, **more):
    """The state of a run on a test bed from 0.2 to 0.8, with a person of its own."""
    facts = {
        "experiment": "drawer_open",
        "variant": "" if method == "MILE" else "same data",
        "settings": "s",
        "metric": "success",
        "final": True,
        "episodes": 100,
        "steps": 1000,
        "seconds": interventions / 80,
        "helped": 0.7,
        "expert": 0.8,
        "person": f"p{seed}",
        "machine": "m",
        "torch": "t",
    }
    return Outcome(method=method, seed=seed, score=score, round=round_, interventions=interventions, **facts | more)


def runs(method, scores, people=None, **more):
    """Runs on test beds of their own, one a seed, each from its start to its end."""
    rows = []
    for seed, score in enumerate(scores):
        person = {"person": people[seed]} if people else {}
        rows += [outcome(method, seed, 0.2, 0, 0, **person, **more), outcome(method, seed, score, **person, **more)]
    return rows
