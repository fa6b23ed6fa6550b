"""The tables of the ledger.

Times are seconds since 1970 in UTC, by the clock of this host; UIDs are text as received. States are the words of
PS3.4 CC.1.1 for jobs, and of the delivery machine for deliveries.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, Float, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Uid = String(64)
Digest = String(64)

JOB_STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "FAILED", "CANCELED")
ROLES = ("viewer", "operator", "admin", "auditor")
CHANGES = ("raised", "cleared")
DELIVERY_STATES = ("pending", "sending", "sent", "committed", "retry", "parked", "superseded")


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=f"{column}_word")


class Table(DeclarativeBase):
    """What every table shares."""

    type_annotation_map = {dict[str, Any]: JSON, float: Float(53)}  # noqa: RUF012  SQLAlchemy reads it from the class


class Instance(Table):
    """One SOP Instance that was answered Success: the shelf ARRIVALS.

    ``sha256`` is over the data set as it came; ``deleted_at`` is when retention let its file go.
    """

    __tablename__ = "instances"

    sop_instance_uid: Mapped[str] = mapped_column(Uid, primary_key=True)
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    series_instance_uid: Mapped[str] = mapped_column(ForeignKey("series.series_instance_uid"), index=True)
    study_instance_uid: Mapped[str] = mapped_column(Uid, index=True)
    sha256: Mapped[str] = mapped_column(Digest)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    peer: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[float]
    association_id: Mapped[str | None] = mapped_column(String(32), default=None)
    deleted_at: Mapped[float | None] = mapped_column(default=None)


class Association(Table):
    """One association that brought instances: open while ``ended_at`` is empty."""

    __tablename__ = "associations"
    __table_args__ = (Index("associations_of_peer", "peer", "began_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    peer: Mapped[str] = mapped_column(String(64))
    host: Mapped[str] = mapped_column(String(64))
    listener: Mapped[str] = mapped_column(String(64))
    began_at: Mapped[float]
    ended_at: Mapped[float | None] = mapped_column(default=None, index=True)
    is_released: Mapped[bool] = mapped_column(default=False)


class Series(Table):
    """One series as far as it has come: open while ``closed_at`` is empty."""

    __tablename__ = "series"

    series_instance_uid: Mapped[str] = mapped_column(Uid, primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(Uid, index=True)
    patient_id: Mapped[str] = mapped_column(String(64), index=True)
    accession_number: Mapped[str] = mapped_column(String(64), index=True)
    instances: Mapped[int] = mapped_column(Integer, default=0)
    opened_at: Mapped[float]
    last_arrival_at: Mapped[float]
    closed_at: Mapped[float | None] = mapped_column(default=None, index=True)
    closed_by: Mapped[str | None] = mapped_column(String(200), default=None)


class Job(Table):
    """One run of an application over one set of instances: the shelf JOBS.

    ``attempts`` counts claims, also those after a worker was killed; ``errors`` and ``crash_count`` (deaths of the
    computation) are the job's own doing, and only these end it. With ``is_shadow`` its results are compared, not sent.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        _one_of("state", JOB_STATES),
        Index("jobs_to_claim", "state", "priority", "not_before"),
        Index("jobs_by_state", "state", "id"),
        Index("jobs_by_series", "series_instance_uid", "state"),
        Index("jobs_by_version", "version", "finished_at"),
        Index("jobs_by_application", "application", "id"),
        Index("jobs_in_shadow", "is_shadow", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Digest, unique=True)
    application: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    route: Mapped[str] = mapped_column(String(64))
    plan: Mapped[dict[str, Any]]
    destinations: Mapped[list[str]] = mapped_column(JSON)
    series_instance_uid: Mapped[str] = mapped_column(Uid)
    study_instance_uid: Mapped[str] = mapped_column(Uid, index=True)
    patient_id: Mapped[str] = mapped_column(String(64), index=True)
    accession_number: Mapped[str] = mapped_column(String(64), index=True)
    closed_by: Mapped[str] = mapped_column(String(200))
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), default=None, index=True)
    state: Mapped[str] = mapped_column(String(16), default="SCHEDULED")
    is_held: Mapped[bool] = mapped_column(default=False)
    is_shadow: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str | None] = mapped_column(String(64), default=None)
    detail: Mapped[str | None] = mapped_column(String(1000), default=None)
    priority: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(index=True)
    started_at: Mapped[float | None] = mapped_column(default=None)
    finished_at: Mapped[float | None] = mapped_column(default=None, index=True)
    not_before: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    crash_count: Mapped[int] = mapped_column(default=0)
    token: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(128), default=None)
    lease_until: Mapped[float | None] = mapped_column(default=None)
    step: Mapped[str | None] = mapped_column(String(64), default=None)
    progress: Mapped[float] = mapped_column(default=0.0)
    outcome: Mapped[dict[str, Any] | None] = mapped_column(default=None)

    inputs: Mapped[list["JobInput"]] = relationship(lazy="raise", order_by="JobInput.sop_instance_uid")
    results: Mapped[list["Result"]] = relationship(lazy="raise", order_by="Result.rank")


class Comparison(Table):
    """What a shadow route's job gave beside the live one of the same images; ``live_job_id`` is empty where none is.

    ``figures`` are plain JSON without patient data, and outlive the files.
    """

    __tablename__ = "comparisons"

    shadow_job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    live_job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    compared_at: Mapped[float] = mapped_column(index=True)
    is_disagreement: Mapped[bool] = mapped_column(index=True)
    figures: Mapped[dict[str, Any]]


class Drift(Table):
    """How far a score of a route's results is from what it was, by the Kolmogorov-Smirnov test.

    ``distance`` is 0-1; ``recent`` and ``reference`` count the results.
    """

    __tablename__ = "drifts"

    route: Mapped[str] = mapped_column(String(64), primary_key=True)
    score: Mapped[str] = mapped_column(String(64), primary_key=True)
    distance: Mapped[float]
    p_value: Mapped[float]
    recent: Mapped[int]
    reference: Mapped[int]
    is_drift: Mapped[bool]
    at: Mapped[float]


class Described(Table):
    """A series description that a peer sends, how often it came, and the route that took it last, if one did."""

    __tablename__ = "descriptions"

    peer: Mapped[str] = mapped_column(String(64), primary_key=True)
    description: Mapped[str] = mapped_column(String(64), primary_key=True)
    route: Mapped[str | None] = mapped_column(String(64))
    series: Mapped[int]
    first_at: Mapped[float]
    last_at: Mapped[float]


class JobInput(Table):
    """From exactly which instances a job was made."""

    __tablename__ = "job_inputs"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(ForeignKey("instances.sop_instance_uid"), primary_key=True)
    sha256: Mapped[str] = mapped_column(Digest)


class JobWeights(Table):
    """With which weights a job computes, by name and SHA-256."""

    __tablename__ = "job_weights"
    __table_args__ = (Index("jobs_by_weights", "sha256", "job_id"), Index("jobs_by_weights_name", "name", "job_id"))

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    sha256: Mapped[str] = mapped_column(Digest)


class Result(Table):
    """One object that a job wrote; ``rank`` is the order in which it may be sent."""

    __tablename__ = "results"

    sop_instance_uid: Mapped[str] = mapped_column(Uid, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    role: Mapped[str] = mapped_column(String(32))
    rank: Mapped[int]
    sop_class_uid: Mapped[str] = mapped_column(Uid)
    series_instance_uid: Mapped[str] = mapped_column(Uid)
    path: Mapped[str] = mapped_column(String(1000))
    sha256: Mapped[str] = mapped_column(Digest)
    created_at: Mapped[float]
    deleted_at: Mapped[float | None] = mapped_column(default=None)


class Delivery(Table):
    """One result on its way to one destination: the shelf DELIVERIES.

    ``is_unsure``: an attempt broke off, the destination may have it. ``sent_sop_*`` are those of the instance that went
    instead of the result, where the destination took another class. ``commitment_due_at`` is when storage commitment
    is to be asked for (again).
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        _one_of("state", DELIVERY_STATES),
        UniqueConstraint("sop_instance_uid", "destination"),
        Index("deliveries_to_claim", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(ForeignKey("results.sop_instance_uid"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    destination: Mapped[str] = mapped_column(String(64))
    after_id: Mapped[int | None] = mapped_column(ForeignKey("deliveries.id"), default=None)
    state: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float]
    due_at: Mapped[float]
    attempts: Mapped[int] = mapped_column(default=0)
    refusals: Mapped[int] = mapped_column(default=0)
    token: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None] = mapped_column(default=None)
    status: Mapped[int | None] = mapped_column(default=None)
    detail: Mapped[str | None] = mapped_column(String(1000), default=None)
    sent_at: Mapped[float | None] = mapped_column(default=None)
    is_unsure: Mapped[bool] = mapped_column(default=False)
    sent_sop_class_uid: Mapped[str | None] = mapped_column(Uid, default=None)
    sent_sop_instance_uid: Mapped[str | None] = mapped_column(Uid, default=None)
    transaction_uid: Mapped[str | None] = mapped_column(Uid, default=None)
    commitment_due_at: Mapped[float | None] = mapped_column(default=None)
    commitment_requests: Mapped[int] = mapped_column(default=0)

    result: Mapped[Result] = relationship(lazy="raise")


class Commitment(Table):
    """One storage commitment transaction (PS3.4 J.3): the results of one job at one destination."""

    __tablename__ = "commitments"

    transaction_uid: Mapped[str] = mapped_column(Uid, primary_key=True)
    destination: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), index=True)
    requested_at: Mapped[float]
    reported_at: Mapped[float | None] = mapped_column(default=None)


class Outage(Table):
    """A destination that cannot be reached; the row goes when it is back."""

    __tablename__ = "outages"

    destination: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[float]
    probe_at: Mapped[float]
    detail: Mapped[str] = mapped_column(String(1000))


class Event(Table):
    """One line of the audit trail; ``digest`` covers the line and ``previous``, so a later edit shows."""

    __tablename__ = "events"
    __table_args__ = (  # with the time, so that a span is looked for without the lines themselves
        Index("events_by_event", "event", "seq", "at"),
        Index("events_by_peer", "peer", "seq", "at"),
    )

    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(index=True)
    event: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(128))
    peer: Mapped[str | None] = mapped_column(String(64))
    patient_id: Mapped[str | None] = mapped_column(String(64), index=True)
    accession_number: Mapped[str | None] = mapped_column(String(64), index=True)
    study_instance_uid: Mapped[str | None] = mapped_column(Uid, index=True)
    series_instance_uid: Mapped[str | None] = mapped_column(Uid, index=True)
    sop_instance_uid: Mapped[str | None] = mapped_column(Uid, index=True)
    job_id: Mapped[int | None] = mapped_column(index=True)
    user: Mapped[str | None] = mapped_column(String(64), index=True)
    details: Mapped[dict[str, Any]]
    previous: Mapped[str] = mapped_column(Digest)
    digest: Mapped[str] = mapped_column(Digest)


class AuditHead(Table):
    """The end of the audit trail, in one row: lines that were cut off its end are missed here."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Digest)


class Cursor(Table):
    """How far a reader of the audit trail has come: up to and with ``seq`` it has handed on everything."""

    __tablename__ = "cursors"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    seq: Mapped[int]


class Alert(Table):
    """A condition that is so, and was told of; the row goes when it is so no more."""

    __tablename__ = "alerts"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    raised_at: Mapped[float]
    detail: Mapped[str] = mapped_column(String(1000))


class Notice(Table):
    """An alert that was raised or cleared, on its way by one channel; the row goes when it has arrived."""

    __tablename__ = "notices"
    __table_args__ = (_one_of("change", CHANGES),)

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(String(16), index=True)
    at: Mapped[float]
    change: Mapped[str] = mapped_column(String(8))
    kind: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(String(1000))


class Station(Table):
    """A station that is alive says so here; ``started_at`` is since when it has run without a break."""

    __tablename__ = "stations"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    started_at: Mapped[float]
    beat_at: Mapped[float]


class User(Table):
    """Who may use pages and API: a person by ``password`` (its argon2id hash), a program by ``token`` (its SHA-256).

    A person of an OpenID provider is known by its ``issuer`` and the ``subject`` there, and by nothing else. Who is
    disabled, since ``disabled_at``, is let in by none of them.
    """

    __tablename__ = "users"
    __table_args__ = (_one_of("role", ROLES), Index("users_by_subject", "issuer", "subject", unique=True))

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password: Mapped[str | None] = mapped_column(String(200), default=None)
    token: Mapped[str | None] = mapped_column(Digest, unique=True, default=None)
    created_at: Mapped[float]
    issuer: Mapped[str | None] = mapped_column(String(500), default=None)
    subject: Mapped[str | None] = mapped_column(String(255), default=None)
    disabled_at: Mapped[float | None] = mapped_column(default=None)


class Login(Table):
    """One session of a person, by the SHA-256 of the secret that the browser keeps; the row goes at logout."""

    __tablename__ = "logins"

    digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    user: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"), index=True)
    began_at: Mapped[float]
    expires_at: Mapped[float]
