"""The GPUs of this machine, as its driver says."""

from pathlib import Path

from vb_node.gpu import gpus


def test_the_gpus_that_the_driver_knows_are_listed_and_none_without_a_driver() -> None:
    known = list(Path("/proc/driver/nvidia/gpus").glob("*"))

    found = gpus()

    assert len(found) == len(known)
    assert all(0 <= one.busy <= 1 and one.used_bytes <= one.total_bytes for one in found)
