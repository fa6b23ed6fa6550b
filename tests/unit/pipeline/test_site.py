"""A lesion is given to the lobe or deep structure where a radiologist would look for it.

Places in MNI152, RAS mm, none of them in our table. A: centres of the Harvard-Oxford and the LPBA40 regions, as
BrainNet Viewer has them (doi:10.1371/journal.pone.0068910). B: fMRI peaks (doi:10.1002/hbm.22098, table 2).
C: nuclei of the brain stem (Nash et al. 2009, Human Brain Mapping 30:3772). D: seen on nilearn's T1 template.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from vb_node.dicom.codes import LATERALITY, SITES
from vb_node.pipeline import site
from vb_node.pipeline.site import NOWHERE, site_of
from vb_node.types import Matrix

PLACES = {
    # A: cortex
    "frontal pole": ((-25, 53, 8), "frontal lobe"),
    "superior frontal gyrus": ((15, 18, 58), "frontal lobe"),
    "Broca, triangular part": ((-50, 29, 9), "frontal lobe"),
    "Broca, opercular part": ((-51, 15, 15), "frontal lobe"),
    "frontal orbital cortex": ((-30, 24, -16), "frontal lobe"),
    "gyrus rectus": ((4, 27, -27), "frontal lobe"),
    "precentral gyrus": ((35, -11, 50), "frontal lobe"),
    "supplementary motor area": ((-6, -3, 56), "frontal lobe"),
    "central operculum": ((-48, -8, 12), "frontal lobe"),
    "postcentral gyrus": ((-39, -28, 52), "parietal lobe"),
    "superior parietal lobule": ((29, -48, 59), "parietal lobe"),
    "supramarginal gyrus": ((-57, -33, 37), "parietal lobe"),
    "angular gyrus": ((52, -52, 32), "parietal lobe"),
    "parietal operculum": ((49, -28, 22), "parietal lobe"),
    "precuneus": ((-8, -60, 37), "parietal lobe"),
    "posterior cingulate gyrus": ((-6, -39, 29), "parietal lobe"),
    "temporal pole": ((41, 13, -29), "temporal lobe"),
    "superior temporal gyrus": ((-49, -9, -9), "temporal lobe"),
    "anterior superior temporal gyrus": ((-56, -4, -8), "temporal lobe"),
    "Heschl gyrus": ((46, -17, 7), "temporal lobe"),
    "planum temporale": ((-53, -30, 11), "temporal lobe"),
    "middle temporal gyrus": ((61, -22, -12), "temporal lobe"),
    "inferior temporal gyrus": ((-47, -24, -32), "temporal lobe"),
    "fusiform gyrus": ((35, -50, -17), "temporal lobe"),
    "parahippocampal gyrus": ((23, -8, -31), "temporal lobe"),
    "calcarine cortex": ((12, -74, 8), "occipital lobe"),
    "cuneus": ((-9, -80, 28), "occipital lobe"),
    "lingual gyrus": ((-13, -66, -5), "occipital lobe"),
    "occipital pole": ((18, -95, 8), "occipital lobe"),
    "inferior occipital gyrus": ((-29, -85, -15), "occipital lobe"),
    "insula": ((38, 3, 0), "insula"),
    # A: deep
    "thalamus": ((11, -19, 7), "thalamus"),
    "caudate nucleus": ((-13, 9, 10), "corpus striatum"),
    "putamen": ((25, 2, 0), "corpus striatum"),
    "pallidum": ((-19, -5, -1), "corpus striatum"),
    "hippocampus": ((27, -21, -14), "hippocampus"),
    "amygdala": ((-23, -5, -17), "amygdala"),
    "brain stem": ((6, -31, -35), "brain stem"),
    "cerebellum": ((0, -62, -39), "cerebellum"),
    # B: on either side of the tentorium
    "visual word form area": ((-40, -56, -16), "temporal lobe"),
    "motion area V5": ((50, -70, 0), "occipital lobe"),
    "right cerebellum": ((34, -76, -22), "cerebellum"),
    "left cerebellum": ((-42, -48, -28), "cerebellum"),
    # C
    "medullary raphe": ((0, -36, -50), "brain stem"),
    "spinal trigeminal nucleus": ((4, -38, -52), "brain stem"),
    # D
    "cerebral peduncle": ((11, -18, -12), "brain stem"),
    "basis of the pons": ((0, -18, -32), "brain stem"),
    "culmen": ((5, -55, -12), "cerebellum"),
    "genu": ((0, 26, 4), "corpus callosum"),
    "body of the corpus callosum": ((0, 4, 25), "corpus callosum"),
    "splenium": ((0, -37, 14), "corpus callosum"),
    "hypothalamus": ((0, -4, -12), "third ventricle"),
    "fourth ventricle": ((0, -47, -34), "fourth ventricle"),
    "pineal region": ((0, -28, 4), "pineal gland"),
    "suprasellar cistern": ((0, 2, -18), "pituitary gland"),
    "forceps minor": ((22, 38, 8), "frontal lobe"),
    "centrum semiovale": ((26, -35, 38), "parietal lobe"),
}
TABLE = json.loads(Path(site.__file__).with_name("site.json").read_text())
REGIONS = TABLE["lobes"] + TABLE["deep"]


def _lps(*points_ras: tuple[float, float, float]) -> Matrix:
    return np.array(points_ras) * [-1.0, -1.0, 1.0]


@pytest.mark.parametrize(("point", "expected"), PLACES.values(), ids=PLACES)
def test_a_textbook_place_has_its_lobe_or_deep_structure(point: tuple[int, int, int], expected: str) -> None:
    assert site_of(_lps(point)) == expected


def test_no_textbook_place_is_a_centre_of_our_own_table() -> None:
    centres = [tuple(point) for region in REGIONS for point in region["points_ras_mm"]]

    assert not {point for point, _ in PLACES.values()} & set(centres)


def test_a_lesion_of_both_temporal_lobes_is_not_in_the_brain_stem_between_them() -> None:
    both = _lps((-55, -20, -10), (-57, -22, -12), (55, -20, -10), (57, -22, -12))

    assert site_of(both.mean(axis=0, keepdims=True)) == "brain stem"
    assert site_of(both) == "temporal lobe"


def test_a_lesion_over_two_lobes_is_in_the_one_that_holds_more_of_it() -> None:
    frontal, parietal = (35, -11, 50), (40, -40, 50)

    assert site_of(_lps(frontal, frontal, parietal)) == "frontal lobe"
    assert site_of(_lps(frontal, parietal, parietal)) == "parietal lobe"


def test_white_matter_beyond_a_deep_structure_belongs_to_the_lobe_around_it() -> None:
    beyond = _lps((24, 20, 20))
    centres = np.concatenate([_lps(*region["points_ras_mm"]) for region in REGIONS])
    sites = [region["site"] for region in REGIONS for _ in region["points_ras_mm"]]

    nearest = sites[int(np.linalg.norm(centres - beyond, axis=1).argmin())]

    assert nearest == "corpus striatum"
    assert site_of(beyond) == "frontal lobe"


def test_a_place_outside_the_head_is_only_in_the_brain() -> None:
    assert site_of(_lps((200, 0, 0))) == NOWHERE


def test_every_site_and_side_has_a_code() -> None:
    assert {NOWHERE, *(region["site"] for region in REGIONS)} == set(SITES)
    assert set(LATERALITY) == {"left", "right"}


def test_every_centre_is_in_the_head_and_names_its_source() -> None:
    points = np.array([point for region in REGIONS for point in region["points_ras_mm"]])

    assert {region["source"] for region in REGIONS} == set(TABLE["sources"])
    assert (np.abs(points) <= [75, 105, 85]).all()
