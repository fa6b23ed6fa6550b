"""What a destination gets, by its viewer profile."""

from typing import get_args

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    MRImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from vb_node.config import EXAMPLE, ViewerProfile
from vb_node.dicom.viewers import PROFILES, STANDARD, left_out


def test_the_configuration_knows_every_profile_and_explains_it() -> None:
    assert set(get_args(ViewerProfile)) == set(PROFILES)
    assert all(f'"{profile}"' in EXAMPLE for profile in PROFILES)


@pytest.mark.parametrize(
    ("profile", "sent"),
    [
        ("standard", {SegmentationStorage, Comprehensive3DSRStorage, SecondaryCaptureImageStorage}),
        ("objects", {SegmentationStorage, Comprehensive3DSRStorage}),
        ("key-images", {SecondaryCaptureImageStorage}),
        ("pdf", {SegmentationStorage, Comprehensive3DSRStorage, EncapsulatedPDFStorage}),
    ],
)
def test_a_profile_sends_what_its_viewers_show(profile: str, sent: set[str]) -> None:
    ours = {
        SegmentationStorage,
        Comprehensive3DSRStorage,
        SecondaryCaptureImageStorage,
        ParametricMapStorage,
        EncapsulatedPDFStorage,
    }

    assert ours - PROFILES[profile] == sent


def test_every_profile_sends_something_that_its_reader_can_see() -> None:
    shown = {Comprehensive3DSRStorage, SecondaryCaptureImageStorage, EncapsulatedPDFStorage}

    assert all(shown - excluded for excluded in PROFILES.values())


def test_no_profile_holds_back_what_another_application_writes() -> None:
    assert not any(MRImageStorage in excluded for excluded in PROFILES.values())


def test_an_object_is_needless_only_when_no_destination_takes_it() -> None:
    assert EncapsulatedPDFStorage in left_out([STANDARD, "objects"])
    assert EncapsulatedPDFStorage not in left_out([STANDARD, "pdf"])
    assert left_out([]) == PROFILES[STANDARD]
