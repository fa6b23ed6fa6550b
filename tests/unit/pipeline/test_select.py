"""Which series of a study is taken, and the reason for each that is not."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from factories import enhanced_mr, head, mr_series
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from vb_node.dicom.provenance import MANUFACTURER, MODEL_NAME
from vb_node.dicom.read import read_folder
from vb_node.pipeline.select import IMAGE_CLASSES, Choice, SeriesHeader, select, summarise

SILENT: dict[str, Any] = {"SeriesDescription": "", "ProtocolName": "", "SequenceName": "", "ContrastBolusAgent": ""}


def told(instances: int = 160, **attributes: Any) -> SeriesHeader:
    """Summarise a series that says nothing but what it is given."""
    return summarise(mr_series(head()[:1], **(SILENT | attributes))[0], instances)


def only(header: SeriesHeader, **options: Any) -> Choice:
    (choice,) = select([header], **options)
    return choice


@pytest.mark.parametrize(
    "text",
    [
        "AXIAL T1 POST", "3D_AX_T1_postcontrast", "3DAXT1postcontrast",
        "Ax T1 FSPGR +C", "Ax 3D BRAVO + C", "sag 3d gre +c",
        "T1 MPRAGE GADO", "3D T1 TFE SENSE GD", "T1 DOTAREM", "t1ce",
        "T1c", "T1GD", "T1-CE", "T1W_3D_TFE_CE", "SAG T1 C+",
        "AX T1 W CONTRAST", "T1 w/ contrast", "MPRAGE_Gd",
        "SAG MPRAGE POST-CONTRAST RECON", "Sag CUBE T1 +C", "T1 ENHANCED",
        "t1_mprage_sag_p2_iso_KM", "T1+KM", "T1 nach KM",
        "t1 mprage tra mit KM", "VIBE +K", "T1 EG 3D INJ", "T1 3D dopo mdc",
        "T1 con contraste", "T1 con CIV", "T1 axial com contraste", "T1 efter kontrast", "T1 с КУ", "T1增强", "造影T1",
        "T1_wo_FS_post", "T1 post without FS", "T1 FLAIR +C", "PREOP T1 POST", "AX T1 POST PRE-OP",
    ],
)  # fmt: skip
@pytest.mark.parametrize("keyword", ["SeriesDescription", "ProtocolName"])
def test_contrast_is_told_by_the_description_or_the_protocol_alone(keyword: str, text: str) -> None:
    choice = only(told(**{keyword: text}))

    assert choice.is_taken, choice.reason
    assert keyword in choice.reason


@pytest.mark.parametrize("keyword", ["SequenceName", "PulseSequenceName"])
def test_contrast_is_told_by_the_sequence_name_alone(keyword: str) -> None:
    assert only(told(**{keyword: "t1_fl3d_gd"})).is_taken


@pytest.mark.parametrize("agent", ["Magnevist", "GADAVIST", "8 ml", "IV", "YES"])
def test_contrast_is_told_by_the_agent_alone(agent: str) -> None:
    choice = only(told(ContrastBolusAgent=agent))

    assert choice.is_taken
    assert "ContrastBolusAgent" in choice.reason


def test_contrast_is_told_by_the_agent_sequence_of_an_enhanced_object() -> None:
    agent = Dataset()
    agent.CodeValue, agent.CodingSchemeDesignator, agent.CodeMeaning = "C-B03CA", "SRT", "Gadolinium"
    dataset = enhanced_mr(head(), **(SILENT | {"ContrastBolusAgentSequence": [agent]}))

    assert only(summarise(dataset, 1)).is_taken


@pytest.mark.parametrize(
    "text",
    [
        "T1 pre", "AX T1 PRE CONTRAST", "T1_preGd",
        "T1 precontrast", "T1 ohne KM", "t1_mprage_nativ", "T1 NON CONTRAST",
        "T1 noncon", "T1 w/o", "T1 WO CONTRAST", "AX T1 W/O GAD", "T1 sans gado", "T1 avant injection", "T1 senza mdc",
        "T1 sin contraste", "T1 sem contraste", "T1 vor KM",
        "T1 kontrastsız", "T1 без контраста", "T1平扫", "unenhanced T1",
        "T1 zonder contrast", "T1 non-enhanced", "T1 no contrast",
    ],
)  # fmt: skip
def test_a_series_before_contrast_is_not_taken_although_it_names_an_agent(text: str) -> None:
    choice = only(told(SeriesDescription=text, ContrastBolusAgent="Gadovist"))

    assert not choice.is_taken
    assert "contrast" in choice.reason
    assert "in SeriesDescription" in choice.reason


@pytest.mark.parametrize(
    "text",
    [
        "T1 MPRAGE", "T1 posterior fossa", "T1 MPRAGE post-op", "T1 post surgery", "BRAIN W WO T1 MPRAGE", "AX T1",
        "T1 with and without contrast", "Brain w/ & w/o T1",
    ],
)  # fmt: skip
def test_without_evidence_of_contrast_a_series_is_not_taken_unless_none_is_asked(text: str) -> None:
    header = told(SeriesDescription=text)

    assert only(header).reason.startswith("no evidence of contrast")
    assert only(header, must_have_contrast=False).is_taken


@pytest.mark.parametrize("agent", ["NONE", "none ", "No", "0", "ohne"])
def test_an_agent_that_says_none_is_no_evidence(agent: str) -> None:
    assert only(told(SeriesDescription="T1", ContrastBolusAgent=agent)).reason.startswith("no evidence of contrast")


def test_the_description_has_the_word_before_the_protocol() -> None:
    before = told(SeriesDescription="T1 pre", ProtocolName="T1 MPRAGE +C")
    after = told(SeriesDescription="T1 +C", ProtocolName="T1 pre, T2 tumour protocol")

    assert not only(before).is_taken
    assert only(after).is_taken


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("T2 post", "T2 ('t2' in SeriesDescription)"),
        ("AXT2SPACE +C", "T2"),
        ("AX T2 FLAIR POST", "FLAIR"),
        ("t2_space_dark-fluid_sag Gd", "FLAIR"),
        ("SUB T1 POST-PRE", "subtraction"),
        ("MIP T1 post", "projection"),
        ("TOF 3D", "angiography"),
        ("MRA +C", "angiography"),
        ("3D phase contrast", "angiography"),
        ("ep2d_diff_b1000", "diffusion"),
        ("eADC", "diffusion"),
        ("DSC perfusion gad", "perfusion"),
        ("DCE T1", "perfusion"),
        ("3DpCASL", "perfusion"),
        ("SWI post", "susceptibility"),
        ("T2* GRE", "susceptibility"),
        ("localizer +C", "localizer"),
        ("3-plane loc", "localizer"),
        ("T1 MAP post", "parametric map"),
        ("COR STIR +C", "inversion recovery of fat"),
        ("AX PD GD", "proton density"),
    ],
)
def test_another_kind_of_series_is_never_taken(text: str, reason: str) -> None:
    choice = only(told(SeriesDescription=text, ContrastBolusAgent="Gadovist"))

    assert not choice.is_taken
    assert choice.reason.startswith(reason)


@pytest.mark.parametrize("value", ["LOCALIZER", "SUBTRACTION", "PROJECTION IMAGE", "ADC", "PERFUSION"])
def test_image_type_leaves_a_series_out(value: str) -> None:
    choice = only(told(SeriesDescription="T1 +C", ImageType=["DERIVED", "PRIMARY", value]))

    assert choice.reason == f"{value} in ImageType or FrameType"


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Modality": "SEG"}, "modality SEG is not MR"),
        ({"Modality": "SR"}, "modality SR is not MR"),
        ({"Modality": "KO"}, "modality KO is not MR"),
        ({"Modality": "PR"}, "modality PR is not MR"),
        ({"Modality": ""}, "modality empty is not MR"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66"}, "Raw Data Storage is not an MR image"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "Secondary Capture Image Storage is not an MR image"),
        ({"Manufacturer": MANUFACTURER, "ManufacturerModelName": MODEL_NAME}, "our own result"),
        ({"BodyPartExamined": "LSPINE"}, "not a head: 'lspine' in BodyPartExamined"),
        ({"BodyPartExamined": "KNEE"}, "not a head: 'knee' in BodyPartExamined"),
        (
            {"BodyPartExamined": "", "SeriesDescription": "SAG T1 C-SPINE +C"},
            "not a head: 'c spine' in SeriesDescription",
        ),
    ],
)
def test_what_is_no_head_image_of_mr_is_not_taken(attributes: dict[str, Any], reason: str) -> None:
    choice = only(told(**({"SeriesDescription": "T1 +C"} | attributes)))

    assert not choice.is_taken
    assert choice.reason.startswith(reason)


@pytest.mark.parametrize("part", ["", "HEAD", "BRAIN", "HEADNECK", "SKULL", "BRAIN/SPINE"])
def test_a_head_or_no_word_of_the_body_part_passes(part: str) -> None:
    assert only(told(SeriesDescription="T1 +C", BodyPartExamined=part)).is_taken


def test_a_fragment_is_not_taken_and_frames_are_counted() -> None:
    assert only(told(instances=2, SeriesDescription="T1 +C")).reason == "2 slices, at least 16 needed"
    assert only(summarise(enhanced_mr(head()), 1)).is_taken


def test_a_late_echo_without_a_word_for_t1_is_not_taken() -> None:
    header = told(SeriesDescription="AX POST", EchoTime=95)

    assert only(header).reason == "not T1-weighted: nothing says T1, and the echo time is 95 ms"


def test_of_two_fitting_series_the_thin_3d_one_is_taken_and_the_other_told_why() -> None:
    thick = told(30, SeriesDescription="AX T1 POST", MRAcquisitionType="2D", SliceThickness=5, SeriesInstanceUID="1.1")
    thin = told(
        176, SeriesDescription="T1 MPRAGE POST", MRAcquisitionType="3D", SliceThickness=1, SeriesInstanceUID="1.2"
    )

    left, taken = select([thick, thin])

    assert (left.is_taken, taken.is_taken) == (False, True)
    assert left.reason.startswith("another series fits better: series 1.2 (score")
    assert 0 < left.score < taken.score <= 1


def test_of_equal_series_the_later_is_taken() -> None:
    same = {"SeriesDescription": "T1 MPRAGE POST"}
    early = told(**same, SeriesTime="101500", SeriesInstanceUID="1.9")
    late = told(**same, SeriesTime="103000", SeriesInstanceUID="1.1")

    assert [choice.is_taken for choice in select([late, early])] == [True, False]


def test_a_reformatted_copy_is_taken_only_where_nothing_else_is() -> None:
    copy = told(SeriesDescription="COR MPR T1 +C", ImageType=["DERIVED", "SECONDARY", "MPR"], SliceThickness=1)
    original = told(30, SeriesDescription="AX T1 +C", MRAcquisitionType="2D", SliceThickness=6)

    left, taken = select([copy, original])

    assert taken.is_taken
    assert left.reason.startswith("a reformatted copy, and an original is there")
    assert only(copy).is_taken


def test_an_empty_study_has_no_choice() -> None:
    assert select([]) == []


def test_damaged_values_count_as_absent() -> None:
    header = mr_series(head(), **(SILENT | {"SeriesDescription": "T1 +C"}))[0]
    for keyword in ("SliceThickness", "EchoTime", "NumberOfFrames", "SeriesTime", "Manufacturer", "ContrastBolusAgent"):
        tag = Tag(keyword)
        header[tag] = RawDataElement(tag, "Zz", 3, b"***", 0, False, True)

    assert only(summarise(header, 160)).is_taken


def test_a_summary_is_plain_values() -> None:
    header = told(SeriesDescription="T1 +C")

    assert SeriesHeader(**asdict(header)) == header


def real(folder: Path) -> list[tuple[SeriesHeader, Choice]]:
    """Choose among all series of a folder, as one study."""
    headers = []
    for instances in read_folder(folder).values():
        images = [instance.header for instance in instances if instance.header.SOPClassUID in IMAGE_CLASSES]
        headers.append(summarise(images[0] if images else instances[0].header, len(images or instances)))
    return list(zip(headers, select(headers), strict=True))


REASONS = {
    "ge_3d_irspgr_fruit": {"Accelerated SAG IR-SPGR": "no evidence of contrast"},
    "philips_mprage_3t": {"ADNI_Sag3D MPRAGE": "no evidence of contrast"},
    "siemens_xa30_enhanced_t1": {
        "anat-T1w_acq-tfl": "no evidence of contrast",
        "PhoenixZIPReport": "modality SR is not MR",
    },
    "philips_enh_multiframe": {"3DpCASL": "PERFUSION in ImageType", "fcMRI Field Mapping": "functional"},
    "odd_dcmqa/canon_enhanced": {"SAG_DTI_PA-ortho": "DIFFUSION in ImageType"},
    "odd_dcmqa/siemens_mosaic": {"ep2d_Asc": "6 slices"},
    "remind_022_t1ce_seg": {
        "3D_AX_T1_postcontrast": "taken: T1 ('t1' in SeriesDescription); contrast",
        "3D_AX_T2_SPACE": "T2 ('t2' in SeriesDescription)",
        "tumor seg - MR ref: 3D_AX_T1_postcontrast": "modality SEG is not MR",
    },
    "rider_neuro_multi": {
        "sag 3d gre +c": "2 slices, at least 16 needed",
        "ax 5 flip": "2 slices, at least 16 needed",
        "ax 10 flip": "2 slices, at least 16 needed",
    },
}


@pytest.mark.real_data
@pytest.mark.parametrize("folder", REASONS)
def test_each_real_series_has_its_reason(real_data: Path, folder: str) -> None:
    decided = real(real_data / folder)

    assert decided
    for header, choice in decided:
        expected = REASONS[folder][dict(header.texts)["SeriesDescription"]]
        assert choice.reason.startswith(expected), choice.reason
        assert choice.is_taken == expected.startswith("taken")


@pytest.mark.real_data
@pytest.mark.parametrize("folder", ["odd_dicom2nifti", "seg_sr_objects", "odd_dcmqa"])
def test_no_odd_real_series_is_taken_and_each_has_a_reason(real_data: Path, folder: str) -> None:
    choices = [choice for _, choice in real(real_data / folder)]

    assert choices
    assert not any(choice.is_taken for choice in choices)
    assert all(choice.reason for choice in choices)


@pytest.mark.real_data
def test_in_real_visits_that_were_whole_the_series_with_the_agent_is_taken(real_data: Path) -> None:
    headers = [header for header, _ in real(real_data / "rider_neuro_multi")]

    taken = [choice for header in headers for choice in select([header], min_slices=2) if choice.is_taken]

    with_agent = [header.series_instance_uid for header in headers if "agnevist" in header.contrast_bolus_agent.lower()]
    assert [choice.series_instance_uid for choice in taken] == with_agent
    assert len(with_agent) == 4


@pytest.mark.real_data
def test_the_real_fruit_is_taken_where_it_claims_an_agent(real_data: Path) -> None:
    (instances,) = read_folder(real_data / "ge_3d_irspgr_fruit" / "In").values()
    header = instances[0].header
    header.ContrastBolusAgent = "Gadolinium"

    assert only(summarise(header, len(instances))).is_taken
