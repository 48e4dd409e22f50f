"""TensorBoard's files of a run that goes on: what it will log again is taken out, so that no step is there twice."""

import io
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter

from mile.files import write_bytes

EPOCH_MEANS = ("train/", "epoch")  # tags that Lightning logs when an epoch ends, after its checkpoint


def forget_later(folder: Path, checkpoint: Path | None) -> None:
    """Take out of the event files in a run's folder what was logged after a checkpoint.

    Args:
        folder: Folder of the run.
        checkpoint: Checkpoint from which the run goes on; None: it begins anew, and all of it is taken out.
    """
    paths = sorted(folder.glob("events.out.tfevents.*"))
    if checkpoint is None:
        for path in paths:
            path.unlink()
        return
    content = torch.load(checkpoint, map_location="cpu", weights_only=True) if paths else {}
    for path in paths:
        events = list(LegacyEventFileLoader(str(path)).Load())
        earlier = [event for event in events if _is_before(event, content["saved_at"], content["global_step"])]
        if len(earlier) < len(events):
            file = io.BytesIO()
            writer = RecordWriter(file)
            for event in earlier:
                writer.write(event.SerializeToString())
            write_bytes(path, file.getvalue())


def _is_before(event: Any, saved_at: float, global_step: int) -> bool:
    if event.wall_time <= saved_at:
        return True
    return event.step < global_step and any(value.tag.startswith(EPOCH_MEANS) for value in event.summary.value)
