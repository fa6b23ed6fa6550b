"""Phantoms that several tests look at: made once."""

import pytest

from vb_node.training.phantom import PhantomCase, make_case


@pytest.fixture(scope="session")
def glioma() -> PhantomCase:
    """Give a glioma in thin axial slices."""
    return make_case(3, "Glioma", "axial")


@pytest.fixture(scope="session")
def thick_lymphoma() -> PhantomCase:
    """Give a lymphoma in thick slices: few instances, so quick to write."""
    return make_case(4, "PCNSL", "thick")
