"""The shelf COMMITMENTS: which transactions are open, and what a destination has reported of them.

A Transaction UID is used once. A request without a report, or an instance that the destination does not keep, is
followed by another, ``MOST_REQUESTS`` in all; then a person must look.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased, selectinload

from storage.deliveries import UNDER_WAY, tell
from storage.schema import Commitment, Delivery

REPORT_WAIT_S = 4 * 3600.0
REFUSAL_WAIT_S = 3600.0
MOST_REQUESTS = 3


def begin(session: Session, destination: str, transaction_uid: str, *, now: float) -> list[tuple[str, str]]:
    """Open a transaction for what of one job is sent and not committed, once all of the job has come to an end.

    Gives SOP Class UID and SOP Instance UID of each instance; none if nothing is due.
    """
    other = aliased(Delivery)
    is_under_way = exists().where(
        other.job_id == Delivery.job_id, other.destination == destination, other.state.in_(UNDER_WAY)
    )
    due = (
        select(Delivery)
        .where(Delivery.destination == destination, Delivery.state == "sent", Delivery.commitment_due_at <= now)
        .where(Delivery.commitment_requests < MOST_REQUESTS)
        .order_by(Delivery.id)
        .options(selectinload(Delivery.result))
    )
    first = session.scalar(due.where(~is_under_way).limit(1).with_for_update(skip_locked=True, of=Delivery))
    if first is None:
        return []
    wanted = session.scalars(due.where(Delivery.job_id == first.job_id)).all()
    session.add(
        Commitment(transaction_uid=transaction_uid, destination=destination, job_id=first.job_id, requested_at=now)
    )
    session.flush()
    for delivery in wanted:
        delivery.transaction_uid, delivery.commitment_due_at = transaction_uid, now + REPORT_WAIT_S
        delivery.commitment_requests += 1
        _tell(session, delivery, "commitment requested", f"transaction {transaction_uid}", now=now)
    return [
        (one.sent_sop_class_uid or one.result.sop_class_uid, one.sent_sop_instance_uid or one.sop_instance_uid)
        for one in wanted
    ]


def put_off(session: Session, transaction_uid: str, why: str, *, now: float, is_down: bool) -> None:
    """Ask again in an hour what was refused; at once, and uncounted, what never reached the destination."""
    for delivery in session.scalars(select(Delivery).filter_by(transaction_uid=transaction_uid, state="sent")):
        delivery.commitment_due_at = now if is_down else now + REFUSAL_WAIT_S
        delivery.commitment_requests -= is_down
        _tell(session, delivery, "commitment not requested", why, now=now)


def give_up(session: Session, destination: str, *, now: float) -> None:
    """Park what was asked for often enough and never reported."""
    query = select(Delivery).where(Delivery.destination == destination, Delivery.state == "sent")
    query = query.where(Delivery.commitment_due_at <= now, Delivery.commitment_requests >= MOST_REQUESTS)
    for delivery in session.scalars(query):
        delivery.state = "parked"
        why = f"sent, but {MOST_REQUESTS} requests for storage commitment brought no report: look for it there"
        _tell(session, delivery, "delivery parked", why, now=now)


def report(
    session: Session, transaction_uid: str, stored: Collection[str], failed: Mapping[str, str], *, now: float
) -> bool:
    """Take a report, and say whether its transaction is known; a report that comes again changes nothing.

    ``stored`` are SOP Instance UIDs, ``failed`` those that the destination does not keep, with its reason: they are
    sent again. What a late report calls stored counts also after another request.
    """
    transaction = session.get(Commitment, transaction_uid, with_for_update=True)
    if transaction is None or transaction.reported_at is not None:
        return transaction is not None
    transaction.reported_at = now
    sent_uid = func.coalesce(Delivery.sent_sop_instance_uid, Delivery.sop_instance_uid)
    mine = select(Delivery).filter_by(job_id=transaction.job_id, destination=transaction.destination)
    for delivery in session.scalars(mine.where(sent_uid.in_(stored), Delivery.state.in_(("sent", "parked")))):
        delivery.state, delivery.commitment_due_at = "committed", None
        _tell(session, delivery, "delivery committed", f"transaction {transaction_uid}", now=now)
    refused = mine.filter_by(transaction_uid=transaction_uid, state="sent").where(sent_uid.in_(failed))
    for delivery in session.scalars(refused):
        _send_again(session, delivery, failed[delivery.sent_sop_instance_uid or delivery.sop_instance_uid], now=now)
    return True


def _send_again(session: Session, delivery: Delivery, reason: str, *, now: float) -> None:
    is_last = delivery.commitment_requests >= MOST_REQUESTS
    delivery.state, delivery.due_at = "parked" if is_last else "pending", delivery.created_at
    delivery.transaction_uid = delivery.commitment_due_at = None
    why = f"sent, but the destination does not keep it ({reason})"
    _tell(session, delivery, "delivery parked" if is_last else "commitment failed", why, now=now)


def _tell(session: Session, delivery: Delivery, event: str, detail: str, *, now: float) -> None:
    delivery.detail = detail[:1000]
    tell(session, delivery, event, now=now)
