"""What may be asked of a list: exact values, bounded, and no word that is not known (RELIABILITY W-05)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 2**31 - 1

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Word = Annotated[str | None, Field(max_length=64, pattern=PRINTABLE)]
Model = Annotated[str | None, Field(max_length=255, pattern=PRINTABLE, description="Name or SHA-256 of weights.")]
Number = Annotated[int, Field(ge=1, le=LARGEST)]
Moment = Annotated[
    datetime | None,
    AfterValidator(lambda moment: moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)),
    Field(description="UTC where no offset is given."),
]


class Span(BaseModel):
    """What all lists share: a span of time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Moment = None
    until: Moment = None

    def span(self) -> dict[str, float | None]:
        """Give first and last as seconds since 1970."""
        moments = {"since": self.since, "until": self.until}
        return {name: None if moment is None else moment.timestamp() for name, moment in moments.items()}


class Asked(Span):
    """What most lists share: exact values of columns too."""

    accession_number: Word = Field(None, alias="accession")
    patient_id: Word = None
    study_instance_uid: Word = Field(None, alias="study")
    series_instance_uid: Word = Field(None, alias="series")

    def keys(self) -> dict[str, Any]:
        """Give the columns that are asked for and their values."""
        return self.model_dump(exclude={"since", "until", "limit", "before", "after"}, exclude_none=True)


class AskedJobs(Asked):
    """Which jobs; ``since`` and ``until`` are about when they were scheduled."""

    state: Literal["SCHEDULED", "IN PROGRESS", "COMPLETED", "FAILED", "CANCELED"] | None = None
    application: Word = None
    before: Number | None = Field(None, description="The `next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class AskedComparisons(Span):
    """Which comparisons; ``since`` and ``until`` are about when they were made."""

    route: Word = None
    is_disagreement: bool | None = None
    before: Number | None = Field(None, description="The `next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=500)] = 50

    def keys(self) -> dict[str, Any]:
        """Give what else is asked for."""
        return self.model_dump(include={"route", "is_disagreement"})


class AskedEvents(Asked):
    """Which lines of the audit trail, by the words of `vb-node audit search`."""

    sop_instance_uid: Word = Field(None, alias="sop")
    peer: Word = None
    job_id: Number | None = Field(None, alias="job")
    event: Word = None
    user: Word = None
    model: Model = None
    after: Number | None = Field(None, description="The `next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class AskedQuestion(Asked):
    """About what a question is asked: by the words of `vb-node audit ask`; each question says which it takes."""

    sop_instance_uid: Word = Field(None, alias="sop")
    peer: Word = None
    job_id: Number | None = Field(None, alias="job")
    user: Word = None
    application: Word = None
    version: Word = None
    model: Model = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000

    def about(self) -> dict[str, Any]:
        """Give all that is asked by; what was left empty is not asked by."""
        return {name: value for name, value in (self.keys() | self.span()).items() if value not in (None, "")}
