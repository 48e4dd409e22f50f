"""The same episodes on every rank of a distributed run."""

from typing import Any

import torch.distributed as dist

from mile.datamodules.buffer import InterventionBuffer


def share_episodes(buffer: InterventionBuffer) -> None:
    """Give every rank the recorded episodes that it lacks; every rank calls this. A single process is left alone.

    Each episode comes from the first rank that has it, and is committed on the others before this returns.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    own = {(episode.round, episode.episode): episode for episode in buffer.episodes}
    rank, ranks = dist.get_rank(), dist.get_world_size()

    # who has which episodes
    present: list[Any] = [None] * ranks
    dist.all_gather_object(present, set(own))
    everywhere = set.intersection(*present)
    earlier_ranks = set().union(*present[:rank])

    # steps of the episodes that this rank is the first to have, and others lack
    offer: dict[tuple[int, int], Any] = {}
    for key in sorted(set(own) - everywhere - earlier_ranks):
        offer[key] = buffer.read(own[key])
    offers: list[Any] = [None] * ranks
    dist.all_gather_object(offers, offer)

    # steps of the episodes that this rank lacks
    for episodes in offers:
        for key, steps in episodes.items():
            if key not in own:
                buffer.append(steps)
