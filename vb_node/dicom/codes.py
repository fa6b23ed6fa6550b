"""Every code that a result carries, with its scheme and where it was found.

``P``: in the tables of PS3.16 that pydicom ships. ``N``: NCI Thesaurus, confirmed through OncoTree and value sets.
``OURS``: private, told in the Coding Scheme Identification Sequence.
"""

from collections.abc import Collection, Iterator
from functools import cache
from typing import Final, cast

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from vb_node.errors import Unfit

PRIVATE_SCHEME: Final = "99VBNODE"
CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")

# P, documents: CID 7021, 100, 6047
REPORT_TITLE: Final = Code("126001", "DCM", "Oncology Measurement Report")
PROCEDURE: Final = Code("25056-3", "LN", "MRI unspecified body region")
SUMMARY: Final = Code("111017", "DCM", "CAD Processing and Findings Summary")
SUCCEEDED_WITH_FINDINGS: Final = Code("111242", "DCM", "All algorithms succeeded; with findings")
SUCCEEDED_WITHOUT_FINDINGS: Final = Code("111241", "DCM", "All algorithms succeeded; without findings")
NOT_ALL_SUCCEEDED: Final = Code("111243", "DCM", "Not all algorithms succeeded; without findings")
NONE_SUCCEEDED: Final = Code("111245", "DCM", "No algorithms succeeded; without findings")
COMMENT: Final = Code("121106", "DCM", "Comment")
IMPRESSION: Final = Code("111023", "DCM", "Differential Diagnosis/Impression")
UNDETERMINED: Final = Code("373068000", "SCT", "Undetermined")
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")
DEVICE: Final = Code("121007", "DCM", "Device")
# RFC 5646 through PS3.16 TID 1204: no table of pydicom holds languages
LANGUAGE: Final = Code("en-US", "RFC5646", "English (United States)")

# P, names that highdicom writes and the self check reads
MEASUREMENT_GROUP: Final = Code("125007", "DCM", "Measurement Group")
TRACKING_UID: Final = Code("112040", "DCM", "Tracking Unique Identifier")
REFERENCED_SEGMENT: Final = Code("121191", "DCM", "Referenced Segment")
SOURCE_SERIES: Final = Code("121232", "DCM", "Source series for segmentation")
# As TID 1411 words it: the table of pydicom has SNOMED's own name for it
FINDING_CATEGORY: Final = Code("276214006", "SCT", "Finding category")

# P, the lesion and its measurements: CID 7150, 7151, 7469, 7474, 244
ABNORMAL_STRUCTURE: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NEOPLASM: Final = Code("108369006", "SCT", "Neoplasm")
VOLUME: Final = Code("118565006", "SCT", "Volume")
VOXEL_SUM: Final = Code("126030", "DCM", "Sum of segmented voxel method for volume")
DIAMETER: Final = Code("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")
LONG_AXIS: Final = Code("103339001", "SCT", "Long axis")
SHORT_AXIS: Final = Code("103340004", "SCT", "Short axis")
PROBABILITY: Final = Code("122157", "DCM", "Probability")
NUMBER_OF_LESIONS: Final = Code("246206008", "SCT", "Number of lesions")
LATERALITY: Final = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}

# P, finding sites: CID 7153
SITES: Final = {
    "brain": Code("12738006", "SCT", "Brain"),
    "frontal lobe": Code("83251001", "SCT", "Frontal lobe"),
    "temporal lobe": Code("78277001", "SCT", "Temporal lobe"),
    "parietal lobe": Code("16630005", "SCT", "Parietal lobe"),
    "occipital lobe": Code("31065004", "SCT", "Occipital lobe"),
    "insula": Code("36169008", "SCT", "Insula"),
    "thalamus": Code("42695009", "SCT", "Thalamus"),
    "corpus striatum": Code("31428008", "SCT", "Corpus striatum"),
    "hippocampus": Code("5366008", "SCT", "Hippocampus"),
    "amygdala": Code("4958002", "SCT", "Amygdala"),
    "corpus callosum": Code("88442005", "SCT", "Corpus Callosum"),
    "third ventricle": Code("49841001", "SCT", "Third ventricle"),
    "fourth ventricle": Code("35918002", "SCT", "Fourth Ventricle"),
    "pineal gland": Code("45793000", "SCT", "Pineal Gland"),
    "pituitary gland": Code("56329008", "SCT", "Pituitary"),
    "brain stem": Code("119238007", "SCT", "Brain Stem"),
    "cerebellum": Code("113305005", "SCT", "Cerebellum"),
}

# P, units: UCUM. COUNT and SCORE are UCUM annotations: dimensionless, with a word.
CUBIC_MILLIMETRE: Final = Code("mm3", "UCUM", "cubic millimeter")
MILLIMETRE: Final = Code("mm", "UCUM", "mm")
PERCENT: Final = Code("%", "UCUM", "Percent")
COUNT: Final = Code("{lesions}", "UCUM", "lesions")
SCORE: Final = Code("{score}", "UCUM", "score from 0 to 1")

# N, and OURS for the class that no thesaurus has
CLASSES: Final = {
    "Glioma": Code("C3059", "NCIt", "Glioma"),
    "PCNSL": Code("C9301", "NCIt", "Primary central nervous system lymphoma"),
    "Germinoma": Code("C3753", "NCIt", "Germinoma"),
    "Rare": Code("RARE", PRIVATE_SCHEME, "Rare or other entity"),
}

# OURS
LOCALISATION: Final = Code("LOCALISATION", PRIVATE_SCHEME, "Localisation state")
LOCALISATION_STATES: Final = {
    "localised": Code("LOCALISED", PRIVATE_SCHEME, "Localised"),
    "not localised": Code("NOT_LOCALISED", PRIVATE_SCHEME, "Not localised"),
    "unreliable": Code("UNRELIABLE", PRIVATE_SCHEME, "Localisation unreliable"),
}
LOCALISATION_SCORE: Final = Code("LOC_SCORE", PRIVATE_SCHEME, "Localisation confidence, score not calibrated")
CLAIM: Final = Code("CLAIM", PRIVATE_SCHEME, "What the model weights can claim")
SYNTHETIC_ONLY: Final = Code(
    "SYNTHETIC_ONLY", PRIVATE_SCHEME, "Trained on synthetic data only; no clinical performance"
)
NO_CLAIM: Final = Code("NO_CLAIM", PRIVATE_SCHEME, "No clinical performance claimed")
REASON: Final = Code("REASON", PRIVATE_SCHEME, "Reason for no analysis")
REASONS: Final = {
    "BadGeometry": Code("BAD_GEOMETRY", PRIVATE_SCHEME, "Planes do not make one volume"),
    "MissingSlices": Code("MISSING_SLICES", PRIVATE_SCHEME, "Slices missing"),
    "MixedOrientations": Code("ORIENTATIONS", PRIVATE_SCHEME, "Mixed orientations in one series"),
    "DuplicatedPositions": Code("DUPLICATED", PRIVATE_SCHEME, "Duplicated slice positions"),
    "TooFewSlices": Code("TOO_FEW_SLICES", PRIVATE_SCHEME, "Too few slices for a volume"),
    "NoFrameOfReference": Code("NO_FRAME_OF_REF", PRIVATE_SCHEME, "No frame of reference"),
    "UnreadablePixels": Code("PIXELS", PRIVATE_SCHEME, "Pixel data not readable"),
    "NoBrain": Code("NO_BRAIN", PRIVATE_SCHEME, "No brain recognised"),
    "OutOfCoverage": Code("COVERAGE", PRIVATE_SCHEME, "Brain not covered"),
    "NoContrast": Code("NO_CONTRAST", PRIVATE_SCHEME, "Tissues not told apart in the noise"),
    "Motion": Code("MOTION", PRIVATE_SCHEME, "Head moved during the scan"),
    "BadResult": Code("BAD_RESULT", PRIVATE_SCHEME, "Result failed its own check"),
}
UNFIT: Final = Code("UNFIT", PRIVATE_SCHEME, "Series not fit for analysis")


def reason_for(error: Unfit) -> Code:
    """Give the code of an error's own class, or of the nearest of its parents that has one."""
    return next((REASONS[name] for name in (kind.__name__ for kind in type(error).__mro__) if name in REASONS), UNFIT)


def private_scheme() -> CodingSchemeIdentificationItem:
    """Tell a reader whose codes the private ones are (PS3.3 C.12.1.1.18)."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME, name="Codes of vb-node", version="1", responsible_organization="vb-node developers"
    )


def unknown(result: Dataset, left_out: Collection[str] = ()) -> Iterator[str]:
    """Name every coded item, at any depth, whose code or meaning is in none of the tables, by its path.

    ``left_out`` are keywords of sequences on the top level whose codes were copied from a source.
    """
    for element in result:
        if element.VR == "SQ" and element.keyword not in left_out:
            for number, item in enumerate(element.value, start=1):
                yield from _unknown(item, f"{element.keyword or element.tag}[{number}]")


def meanings(value: str, scheme_designator: str) -> frozenset[str]:
    """Give what a code may mean: what is written above, or else what pydicom's tables of PS3.16 say."""
    return _ours().get((scheme_designator, value)) or _published().get((scheme_designator, value), frozenset())


def _unknown(item: Dataset, place: str) -> Iterator[str]:
    value = next((item[keyword].value for keyword in CODE_VALUES if keyword in item), None)
    if value is not None:
        scheme, meaning = item.get("CodingSchemeDesignator", ""), item.get("CodeMeaning", "")
        known = meanings(value, scheme)
        if not known:
            yield f"{place}: code ({value}, {scheme}) is in no table"
        elif meaning not in known:
            yield f"{place}: code ({value}, {scheme}) means {' or '.join(sorted(known))}, not {meaning}"
    for name in unknown(item):
        yield f"{place}.{name}"


@cache
def _ours() -> dict[tuple[str, str], frozenset[str]]:
    tables = [value.values() if isinstance(value, dict) else [value] for value in globals().values()]
    listed = [code for table in tables for code in table if isinstance(code, Code)]
    return {(code.scheme_designator, code.value): frozenset({code.meaning}) for code in listed}


@cache
def _published() -> dict[tuple[str, str], frozenset[str]]:
    """Turn pydicom's tables about: one code may stand under several keywords, with a meaning each."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    tables = cast("dict[str, dict[str, dict[str, tuple[str, list[int]]]]]", concepts)
    for scheme_designator, by_keyword in tables.items():
        for entries in by_keyword.values():
            for value, (meaning, *_) in entries.items():
                key = scheme_designator, value
                found[key] = found.get(key, frozenset()) | {meaning}
    return found
