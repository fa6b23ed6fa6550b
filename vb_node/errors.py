"""The error tree: its first level says what happens next.

A message says what was expected, what came and what to do, with ids and never with patient data.
"""


class NodeError(Exception):
    """Anything that the node says no to; ``reason`` is the word the ledger and the API show."""

    @property
    def reason(self) -> str:
        return type(self).__name__


class ConfigError(NodeError):
    """Refuse to start."""


class Refused(NodeError):
    """Say no to the sender, with a DIMSE status (PS3.7 annex C, PS3.4 table B.2-1)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Later(NodeError):
    """Not now: the same thing may work at the next attempt."""


class Unreachable(Later):
    """The destination cannot be reached for now: nothing was sent."""


class NoAnswer(Later):
    """The exchange broke, or no answer came: the destination may have the instance."""


class Unfit(NodeError):
    """This series will never work: the job ends FAILED and the report says why."""


class IdentityConflict(NodeError):
    """A study names more than one patient: the job is held, and nothing of it leaves the node."""


class BadGeometry(Unfit):
    """The planes do not make one volume: spacing, size or position do not fit together."""


class MissingSlices(BadGeometry):
    """The step between two neighbouring planes is a multiple of the usual one."""


class MixedOrientations(BadGeometry):
    """Planes of one series look in different directions."""


class DuplicatedPositions(BadGeometry):
    """Two planes of one series stand in the same place."""


class TooFewSlices(BadGeometry):
    """Not enough planes for a volume."""


class NoFrameOfReference(BadGeometry):
    """The series is placed nowhere: nothing could be laid over it."""


class UnreadablePixels(Unfit):
    """Pixel data is missing, damaged, of an unknown transfer syntax or not a grey image."""


class NoBrain(Unfit):
    """No head could be recognised in the volume, or its brain could not be separated."""


class OutOfCoverage(Unfit):
    """The volume shows too little of the brain."""


class NoContrast(Unfit):
    """Brain and fluid cannot be told apart in the noise: a tumour would not show either."""


class Motion(Unfit):
    """The head moved so much while it was scanned that its anatomy cannot be recognised."""


class BadResult(Unfit):
    """A result failed its own check before it was sent: a fault of ours, so nothing of it leaves the node."""
