"""A job from its first image to its last committed result, moment by moment."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.schema import Event, Instance, Job
from vb_node import show

LEFT_OUT = {"instance received", "job viewed"}


@dataclass(frozen=True)
class Moment:
    """One thing that happened; ``is_bad`` where something was refused or failed."""

    at: float
    title: str
    detail: str
    is_bad: bool = False


def timeline(job: Job, instances: Sequence[Instance], events: Sequence[Event]) -> list[Moment]:
    """Order all that is known of a job: its instances as two moments, then each event of the trail."""
    inputs = {item.sop_instance_uid for item in job.inputs}
    times = sorted(one.received_at for one in instances if one.sop_instance_uid in inputs)
    peers = ", ".join(sorted({one.peer for one in instances}))
    arrived = [Moment(times[0], "first image", f"from {peers}")] if times else []
    if len(times) > 1:
        arrived.append(Moment(times[-1], "last image", f"{len(times)} images"))
    told = {event.seq: event for event in events if event.event not in LEFT_OUT}
    return sorted([*arrived, *map(_moment, told.values())], key=lambda moment: moment.at)


def _moment(event: Event) -> Moment:
    detail = show.details(event, {"sha256", "sop_class_uid"})
    who = f"by {event.user}" if event.user else ""
    where = f"{event.peer}" if event.peer else ""
    return Moment(event.at, event.event, "; ".join(filter(None, (where, detail, who))), event.outcome != "success")
