"""Who speaks: the implementation that every association and every received file names (PS3.7 D.3.3.2, PS3.10 7.1)."""

from typing import Final

from pydicom.uid import UID
from pynetdicom import AE

from vb_node import __version__

CLASS_UID: Final = UID("2.25.85294125462629044288480638763893985425")
# A peer's log shows it: which of our versions spoke. 16 characters at most (PS3.7 D.3.3.2.4).
VERSION_NAME: Final = f"VB_NODE_{__version__}"[:16]


def entity(ae_title: str) -> AE:
    """Make an Application Entity that names this implementation, not the library it is built on."""
    ae = AE(ae_title=ae_title)
    ae.implementation_class_uid = CLASS_UID
    ae.implementation_version_name = VERSION_NAME
    return ae
