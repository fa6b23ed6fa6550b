"""What the statement says of audit messages: which event becomes which, and which becomes none."""

from vb_node.conformance.markdown import code, table
from vb_node.tell.audit_events import LEFT_OUT, MESSAGES


def messages() -> str:
    """List the message of each event of the audit trail (PS3.15 A.5.3)."""
    rows = [
        (
            f"{name}, by a person" if kind.by_hand else name,
            f"{code(kind.event_id.value)} {kind.event_id.meaning}",
            "" if kind.event_type is None else f"{code(kind.event_type.value)} {kind.event_type.meaning}",
            code(kind.action),
        )
        for name, kind in MESSAGES.items()
    ]
    return table(["Event", "EventID", "EventTypeCode", "EventActionCode"], rows)


def left_out() -> str:
    """List the events without a message, and why they have none."""
    return table(["Event", "Why"], LEFT_OUT.items())
