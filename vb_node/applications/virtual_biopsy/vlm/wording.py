"""What is asked: versioned files beside this module. A changed prompt is a new file; digests are in each report."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template

from vb_node.applications.virtual_biopsy.vlm.formats import BoxFormat
from vb_node.models.vision_language import Pixels, Question

FOLDER = Path(__file__).parent / "prompts"
SLICE, DETAIL, CORNER = "slice-1", "detail-1", "corner-1"


@dataclass(frozen=True)
class Prompt:
    """The system's and the user's part of a prompt, with ``$fields``, and the digest of its file."""

    system: str
    user: Template
    sha256: str

    def ask(self, picture: Pixels, form: BoxFormat, **fields: object) -> Question:
        """Fill the prompt in for a picture; raise ``KeyError`` for a field that is not given."""
        height, width = picture.shape[:2]
        told = {"width": width, "height": height, "key": form.key, "corners": form.corners, "unit": form.unit, **fields}
        return Question(picture, self.system, self.user.substitute(told))


@cache
def prompt(name: str) -> Prompt:
    """Read a prompt of the package."""
    data = (FOLDER / f"{name}.md").read_bytes()
    system, _, user = data.decode("utf-8").partition("\n---\n")
    return Prompt(system.strip(), Template(user.strip()), sha256(data).hexdigest())


def digests() -> dict[str, str]:
    """Give the SHA-256 of each prompt in use, by name."""
    return {name: prompt(name).sha256 for name in (SLICE, DETAIL, CORNER)}
