"""The shelf DELIVERIES: each result on its way to each destination, at least once, in order.

Nothing is ever dropped: what cannot be sent is parked
and waits for a person.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sqlalchemy import Select, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased, selectinload

from storage import audit
from storage.schema import Delivery, Job, Result

UNDER_WAY = ("pending", "sending", "retry")
OPEN = (*UNDER_WAY, "parked")
SECOND_TRY_S = 30.0
LONGEST_WAIT_S = 600.0
REFUSAL_WAIT_S = 3600.0
MOST_REFUSALS = 3

Answer = Literal["stored", "busy", "unsure", "unreachable", "refused", "impossible"]


class LostLease(Exception):
    """Another process has the delivery."""


class NotParked(Exception):
    """The delivery waits for nobody."""


@dataclass(frozen=True)
class Told:
    """What came of one attempt.

    ``sent_as`` are SOP class and instance of what went instead of the result; ``wait_s`` is how long the destination
    asks us to wait.
    """

    answer: Answer
    status: int | None = None
    detail: str | None = None
    sent_as: tuple[str, str] | None = None
    wait_s: float | None = None


@dataclass(frozen=True)
class Lease:
    """The right of one process to one delivery until it lapses."""

    delivery_id: int
    token: int


def _next() -> Select[Delivery]:
    before = aliased(Delivery)
    due = and_(Delivery.state.in_(("pending", "retry")), Delivery.due_at <= bindparam("now"))
    orphaned = and_(Delivery.state == "sending", Delivery.lease_until < bindparam("now"))
    return (
        select(Delivery)
        .outerjoin(before, Delivery.after_id == before.id)
        .where(Delivery.destination == bindparam("destination"), or_(due, orphaned))
        .where(or_(before.id.is_(None), before.state.not_in(UNDER_WAY)))
        .order_by(Delivery.due_at, Delivery.id)
        .limit(1)
        .options(selectinload(Delivery.result))
        .with_for_update(skip_locked=True, of=Delivery)
    )


def _superseded() -> Select[Delivery]:
    mine, later, successor = aliased(Job), aliased(Job), aliased(Delivery)
    has_successor = (
        exists()
        .where(later.series_instance_uid == mine.series_instance_uid, later.application == mine.application)
        .where(later.id > mine.id, successor.job_id == later.id, successor.destination == bindparam("destination"))
    )
    waits = Delivery.state.in_(("pending", "retry"))
    query = select(Delivery).join(mine, Delivery.job_id == mine.id)
    query = query.where(Delivery.destination == bindparam("destination"), waits, has_successor)
    return query.with_for_update(skip_locked=True, of=Delivery)


# Asked at every turn of a station: to lay out a statement anew takes longer than to run it.
_NEXT, _SUPERSEDED = _next(), _superseded()


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
    """Lease the delivery to a destination that is due longest and whose predecessor is no longer under way.

    What a later job has superseded is taken off the shelf. A sender that died may have got through: its delivery comes
    as unsure.
    """
    _withdraw_superseded(session, destination, now=now)
    delivery = session.scalar(_NEXT, {"destination": destination, "now": now})
    if delivery is None:
        return None
    delivery.is_unsure |= delivery.state == "sending"
    delivery.state, delivery.lease_until = "sending", now + lease_s
    delivery.token, delivery.attempts = delivery.token + 1, delivery.attempts + 1
    tell(session, delivery, "delivery begun", now=now)
    return delivery, Lease(delivery.id, delivery.token)


def _withdraw_superseded(session: Session, destination: str, *, now: float) -> None:
    """Take off the shelf what is not sent yet and has a successor of a later job of the same series on it."""
    for delivery in session.scalars(_SUPERSEDED, {"destination": destination}):
        delivery.state, delivery.detail = "superseded", "a later result of the same series takes its place"
        tell(session, delivery, "delivery superseded", now=now)


def keep(session: Session, lease: Lease, *, lease_s: float, now: float) -> None:
    """Prolong a lease; one that is lost stays lost."""
    held = update(Delivery).where(Delivery.id == lease.delivery_id, Delivery.token == lease.token)
    session.execute(held.where(Delivery.state == "sending").values(lease_until=now + lease_s))


def settle(
    session: Session, lease: Lease, told: Told, *, now: float, patience_s: float, wants_commitment: bool = False
) -> Delivery:
    """Write down what came of an attempt, and when to try again; raise ``LostLease``.

    ``busy`` and ``unsure`` are tried again, slower and slower, for ``patience_s``; ``unreachable`` as soon as the
    destination is back; ``refused`` three times, an hour apart; then the delivery is parked, as is at once what is
    ``impossible``.
    """
    query = select(Delivery).filter_by(id=lease.delivery_id, token=lease.token, state="sending").with_for_update()
    delivery = session.scalar(query)
    if delivery is None:
        raise LostLease(f"delivery {lease.delivery_id}: the lease {lease.token} is no longer ours")
    delivery.status, delivery.detail, delivery.lease_until = told.status, told.detail and told.detail[:1000], None
    delivery.is_unsure |= told.answer == "unsure"
    if told.answer in ("stored", "unsure"):
        delivery.sent_sop_class_uid, delivery.sent_sop_instance_uid = told.sent_as or (None, None)
    wait_s = _wait_s(delivery, told)
    if told.answer == "stored":
        delivery.state, delivery.sent_at = "sent", now
        delivery.commitment_due_at = now if wants_commitment else None
    elif wait_s is None or (told.answer != "refused" and now + 1 >= delivery.created_at + patience_s):
        delivery.state = "parked"
    elif told.answer == "unreachable":
        delivery.state = "retry"  # its turn stays its own: the outage holds it, and what comes after it
    else:
        delivery.state, delivery.due_at = "retry", now + wait_s
    delivery.refusals += told.answer == "refused"
    tell(session, delivery, f"delivery {delivery.state}", now=now)
    return delivery


def wake(session: Session, destination: str) -> None:
    """Make due, in their old order, what waits for a destination that is back.

    What it refused keeps its hour, and that at which it broke off its turn: it may be what takes the destination down.
    """
    waiting = update(Delivery).where(
        Delivery.destination == destination,
        Delivery.state == "retry",
        Delivery.refusals == 0,
        Delivery.is_unsure.is_(False),
    )
    session.execute(waiting.values(due_at=Delivery.created_at))


def park_overdue(session: Session, destination: str, *, now: float, patience_s: float, detail: str) -> None:
    """Park what has waited too long for a destination that is down."""
    query = select(Delivery).where(Delivery.destination == destination, Delivery.state.in_(("pending", "retry")))
    for delivery in session.scalars(query.where(Delivery.created_at + patience_s <= now)):
        delivery.state, delivery.detail = "parked", detail[:1000]
        tell(session, delivery, "delivery parked", now=now)


def without_destination(session: Session, known: Iterable[str]) -> Sequence[str]:
    """Name the destinations of deliveries under way that the configuration does not know (any more)."""
    query = (
        select(Delivery.destination)
        .where(Delivery.state.in_(UNDER_WAY), Delivery.destination.not_in(list(known)))
        .distinct()
    )
    return session.scalars(query).all()


def find(session: Session, delivery_id: int) -> Delivery | None:
    """Give one delivery with its result, None if there is none."""
    return session.scalar(select(Delivery).filter_by(id=delivery_id).options(selectinload(Delivery.result)))


def parked(session: Session, *, limit: int) -> Sequence[Delivery]:
    """List the deliveries that wait for a person, newest first, with their results."""
    query = select(Delivery).filter_by(state="parked").order_by(Delivery.id.desc()).limit(limit)
    return session.scalars(query.options(selectinload(Delivery.result))).all()


class Queue(NamedTuple):
    """How many deliveries there are, and since when the one that waits longest has been on the shelf."""

    length: int
    since: float


def queues(session: Session) -> dict[tuple[str, str], Queue]:
    """Count, by destination and state, the deliveries that are not done: under way, or parked."""
    words = Delivery.destination, Delivery.state
    query = select(*words, func.count(), func.min(Delivery.created_at)).where(Delivery.state.in_(OPEN)).group_by(*words)
    return {(name, state): Queue(count, since) for name, state, count, since in session.execute(query)}


def send_again(session: Session, delivery: Delivery, *, now: float, user: str) -> None:
    """Put a parked delivery on the shelf again, with fresh patience; raise ``NotParked``."""
    if delivery.state != "parked":
        raise NotParked(f"delivery {delivery.id} is {delivery.state}; only a parked one can be sent again")
    delivery.state, delivery.due_at, delivery.created_at = "pending", now, now
    delivery.attempts = delivery.refusals = delivery.commitment_requests = 0
    tell(session, delivery, "delivery resumed", now=now, user=user)


def send_all_again(session: Session, destination: str, *, now: float, user: str) -> int:
    """Put all that is parked for a destination on the shelf again, as ``send_again``, and give how many; one event.

    Raises ``NotParked`` where nothing is.
    """
    parked = and_(Delivery.destination == destination, Delivery.state == "parked")
    count = len(session.scalars(select(Delivery.id).where(parked).with_for_update()).all())
    if not count:
        raise NotParked(f"nothing is parked for {destination}: there is nothing to send again")
    fresh = {"attempts": 0, "refusals": 0, "commitment_requests": 0, "due_at": now, "created_at": now}
    session.execute(update(Delivery).where(parked).values(state="pending", **fresh))
    event, details = "deliveries resumed", {"count": count}
    audit.record(session, event, now=now, actor="deliver", user=user, peer=destination, details=details)
    return count


def _wait_s(delivery: Delivery, told: Told) -> float | None:
    """Say how long to wait for the next attempt; None: there is none."""
    if told.answer == "impossible" or (told.answer == "refused" and delivery.refusals + 1 >= MOST_REFUSALS):
        return None
    if told.answer == "refused":
        return REFUSAL_WAIT_S
    wait_s: float = min(SECOND_TRY_S * 2.0 ** max(delivery.attempts - 1, 0), LONGEST_WAIT_S)
    return max(wait_s * random.uniform(0.8, 1.2), told.wait_s or 0.0)  # noqa: S311  spreads the load, guards no secret


def tell(session: Session, delivery: Delivery, event: str, *, now: float, user: str | None = None) -> None:
    """Write the event of a change of a delivery."""
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
