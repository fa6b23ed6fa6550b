"""What an application says of a job, in whatever shape."""

import pytest

from vb_node.pipeline.summary import numbers


def test_numbers_are_told_by_name_and_nothing_else() -> None:
    said = {"localise": 2.5, "read": 1, "odd": "soon", "true": True, "none": None, "far": float("inf")}

    assert numbers(said) == {"localise": 2.5, "read": 1.0}


@pytest.mark.parametrize("said", [None, 12.3, "12.3", [1.0, 2.0]])
def test_what_is_no_mapping_has_no_numbers(said: object) -> None:
    assert numbers(said) == {}
