"""The shelf DELIVERIES: each result on its way to each destination, at least once, in order.

Nothing is ever dropped: what cannot be sent is parked
and waits for a person.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, aliased, selectinload

from storage import audit
from storage.schema import Delivery, Job, Result

UNDER_WAY = ("pending", "sending", "retry")
SECOND_TRY_S = 30.0
LONGEST_WAIT_S = 600.0
REFUSAL_WAIT_S = 3600.0
MOST_REFUSALS = 3

Answer = Literal["stored", "busy", "refused", "impossible"]


class LostLease(Exception):
    """Another process has the delivery."""


@dataclass(frozen=True)
class Lease:
    """The right of one process to one delivery until it lapses."""

    delivery_id: int
    token: int


def enqueue(session: Session, job: Job, results: Iterable[Result], destination: str, *, now: float) -> None:
    """Put the results of a job on the shelf for one destination, a report after the segmentation that it names."""
    segmentation: int | None = None
    for result in results:
        query = select(Delivery).filter_by(sop_instance_uid=result.sop_instance_uid, destination=destination)
        delivery = session.scalar(query)
        if delivery is None:
            delivery = Delivery(
                sop_instance_uid=result.sop_instance_uid,
                job_id=job.id,
                destination=destination,
                after_id=segmentation if result.role == "SR" else None,
                created_at=now,
                due_at=now,
            )
            session.add(delivery)
            session.flush()
        if result.role == "SEG":
            segmentation = delivery.id


def claim(session: Session, destination: str, *, lease_s: float, now: float) -> tuple[Delivery, Lease] | None:
    """Lease the delivery to a destination that is due longest and whose predecessor is no longer under way."""
    before = aliased(Delivery)
    due = and_(Delivery.state.in_(("pending", "retry")), Delivery.due_at <= now)
    orphaned = and_(Delivery.state == "sending", Delivery.lease_until < now)
    query = (
        select(Delivery)
        .outerjoin(before, Delivery.after_id == before.id)
        .where(Delivery.destination == destination, or_(due, orphaned))
        .where(or_(before.id.is_(None), before.state.not_in(UNDER_WAY)))
        .order_by(Delivery.due_at, Delivery.id)
        .limit(1)
        .options(selectinload(Delivery.result))
        .with_for_update(skip_locked=True, of=Delivery)
    )
    delivery = session.scalar(query)
    if delivery is None:
        return None
    delivery.state, delivery.lease_until = "sending", now + lease_s
    delivery.token, delivery.attempts = delivery.token + 1, delivery.attempts + 1
    _tell(session, delivery, "delivery begun", now=now)
    return delivery, Lease(delivery.id, delivery.token)


def settle(
    session: Session,
    lease: Lease,
    answer: Answer,
    *,
    now: float,
    patience_s: float,
    status: int | None = None,
    detail: str | None = None,
) -> Delivery:
    """Write down what the destination answered, and when to try again; raise ``LostLease``.

    ``busy`` is tried again, slower and slower, for ``patience_s``; ``refused`` three times, an hour apart; then the
    delivery is parked, as is at once what is ``impossible``.
    """
    query = select(Delivery).filter_by(id=lease.delivery_id, token=lease.token, state="sending").with_for_update()
    delivery = session.scalar(query)
    if delivery is None:
        raise LostLease(f"delivery {lease.delivery_id}: the lease {lease.token} is no longer ours")
    delivery.status, delivery.detail, delivery.lease_until = status, detail and detail[:1000], None
    if answer == "stored":
        delivery.state, delivery.sent_at = "sent", now
    elif answer == "busy" and now + 1 < delivery.created_at + patience_s:
        delivery.state, delivery.due_at = "retry", now + _wait_s(delivery.attempts)
    elif answer == "refused" and delivery.refusals + 1 < MOST_REFUSALS:
        delivery.state, delivery.due_at = "retry", now + REFUSAL_WAIT_S
    else:
        delivery.state = "parked"
    delivery.refusals += answer == "refused"
    _tell(session, delivery, f"delivery {delivery.state}", now=now)
    return delivery


def without_destination(session: Session, known: Iterable[str]) -> Sequence[str]:
    """Name the destinations of deliveries under way that the configuration does not know (any more)."""
    query = (
        select(Delivery.destination)
        .where(Delivery.state.in_(UNDER_WAY), Delivery.destination.not_in(list(known)))
        .distinct()
    )
    return session.scalars(query).all()


def send_again(session: Session, delivery: Delivery, *, now: float, user: str) -> None:
    """Put a parked delivery on the shelf again, with fresh patience."""
    delivery.state, delivery.due_at, delivery.created_at, delivery.refusals = "pending", now, now, 0
    _tell(session, delivery, "delivery resumed", now=now, user=user)


def _wait_s(attempts: int) -> float:
    wait_s: float = min(SECOND_TRY_S * 2.0 ** max(attempts - 1, 0), LONGEST_WAIT_S)
    return wait_s * random.uniform(0.8, 1.2)  # noqa: S311  spreads the load, guards no secret


def _tell(session: Session, delivery: Delivery, event: str, *, now: float, user: str | None = None) -> None:
    job = session.get_one(Job, delivery.job_id)
    audit.record(
        session,
        event,
        now=now,
        actor="deliver",
        user=user,
        outcome="success" if delivery.state not in ("parked", "retry") else "failure",
        peer=delivery.destination,
        sop_instance_uid=delivery.sop_instance_uid,
        details={
            "attempt": delivery.attempts,
            "status": None if delivery.status is None else f"{delivery.status:04X}",
            "detail": delivery.detail,
        },
        **audit.keys_of(job),
    )
