"""What the statement says of the objects: what kinds there are, and which attributes each has at its top level."""

from collections import Counter
from collections.abc import Mapping

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from vb_node.conformance.markdown import code, table
from vb_node.conformance.origin import COPY, Written
from vb_node.dicom.viewers import PROFILES

Objects = Mapping[str, Written]


def created(objects: Objects) -> str:
    """List the kinds of objects that the node writes."""
    datasets = {role: written.dataset for role, written in objects.items()}
    rows = [
        (role, f"{one.SOPClassUID.name} {code(one.SOPClassUID)}", one.Modality, one.SeriesNumber, one.SeriesDescription)
        for role, one in datasets.items()
    ]
    return table(["Object", "SOP class", "Modality", "Series Number", "Series Description"], rows)


def sent(objects: Objects) -> str:
    """List which objects a destination gets under each viewer profile."""
    rows = [
        (code(name), *("" if one.dataset.SOPClassUID in left_out else "yes" for one in objects.values()))
        for name, left_out in PROFILES.items()
    ]
    return table(["`viewer_profile`", *objects], rows)


def modules(objects: Objects) -> str:
    """List the modules of its IOD that each object has (PS3.3 annex A)."""
    return table(["Object", "Modules"], [(role, ", ".join(_modules_of(one.dataset))) for role, one in objects.items()])


def copied(objects: Objects) -> str:
    """Name the attributes that every object has from the source."""
    return ", ".join(" ".join(_named(tag)[::-1]) for tag in _tags(objects) if _is_copied(tag, objects))


def written(objects: Objects) -> str:
    """List every other attribute, with the origin of its value in each object."""
    rows = [
        (*_named(tag), *(one.origins.get(tag, "") for one in objects.values()))
        for tag in _tags(objects)
        if not _is_copied(tag, objects)
    ]
    return table(["Tag", "Attribute", *objects], rows)


def _modules_of(dataset: Dataset) -> list[str]:
    """Name the mandatory modules, and each other one that has an attribute here which no other module knows."""
    listed = get_iod_module_map()[get_sop_class_iod_map()[dataset.SOPClassUID]]
    rows = get_module_attribute_map()
    tops = {module["key"]: {row["keyword"] for row in rows[module["key"]] if not row["path"]} for module in listed}
    known = Counter(keyword for keywords in tops.values() for keyword in keywords)
    own = {keyword for keyword in dataset.dir() if known[keyword] == 1}
    found = [module["key"] for module in listed if module["usage"] == "M" or own & tops[module["key"]]]
    return [key.replace("-", " ") for key in found]


def _tags(objects: Objects) -> list[BaseTag]:
    return sorted({tag for one in objects.values() for tag in one.origins})


def _is_copied(tag: BaseTag, objects: Objects) -> bool:
    return all(one.origins.get(tag) == COPY for one in objects.values())


def _named(tag: BaseTag) -> tuple[str, str]:
    return str(tag), dictionary_description(tag)
