"""Which SOP classes and transfer syntaxes the node speaks (PS3.4 B.5, PS3.5 section 10 and annex A)."""

from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext

NATIVE: tuple[UID, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
COMPRESSED: tuple[UID, ...] = (
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)
"""Deflated and big endian are not offered: the first is a bomb's fuse, the second is retired."""

VERIFICATION = "1.2.840.10008.1.1"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"

FALL_BACK = {COMPREHENSIVE_3D_SR: (COMPREHENSIVE_SR, ENHANCED_SR)}
"""Classes under which the same content may be sent where its own is not accepted."""


def accepted_as_scp() -> list[PresentationContext]:
    """List what the listener accepts: C-ECHO, and every storage class, since a PACS sends whole studies."""
    storage = {str(context.abstract_syntax) for context in AllStoragePresentationContexts}
    contexts = [PresentationContext() for _ in (VERIFICATION, *storage)]
    for context, sop_class_uid in zip(contexts, (VERIFICATION, *sorted(storage)), strict=True):
        context.abstract_syntax = UID(sop_class_uid)
        context.transfer_syntax = list(NATIVE if sop_class_uid == VERIFICATION else NATIVE + COMPRESSED)
    return contexts
