"""The same episodes on every rank of a distributed run."""

from typing import Any

import torch.distributed as dist

from mile.datamodules.buffer import InterventionBuffer


def share_episodes(buffer: InterventionBuffer) -> None:
    """Give every rank the recorded episodes that it lacks; every rank calls this. A single process is left alone.

    Each episode comes from the first rank that holds it, and is committed on the others before this returns.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    own = {(episode.round, episode.episode): episode for episode in buffer.episodes}
    held: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(held, set(own))
    everywhere, rank = set.intersection(*held), dist.get_rank()
    given = set(own) - everywhere - set().union(*held[:rank])
    offers: list[Any] = [None] * len(held)
    episodes = {key: own[key] for key in sorted(given)}
    steps = {key: buffer.steps[it.start : it.start + it.length].clone() for key, it in episodes.items()}
    dist.all_gather_object(offers, steps)
    for offer in offers:
        for key, episode in offer.items():
            if key not in own:
                buffer.append(episode)
