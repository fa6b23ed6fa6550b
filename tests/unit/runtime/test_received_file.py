"""The file of a received instance: of PS3.10, with nothing of the peer's but the data set, and of whole blocks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import head, mr_series
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from stations import House

from storage.blocks import BLOCK
from vb_node.dimse import implementation
from vb_node.pipeline.application import installed


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, installed())
    yield house
    house.receiver.close()
    house.database.close()


@pytest.mark.parametrize("rows", [16, 64, 256])
def test_a_received_instance_fills_whole_blocks_of_a_file_of_part_10(house: House, rows: int) -> None:
    (sent,) = mr_series(head((1, rows, rows)))
    house.send([sent])

    (path,) = house.spool
    kept = dcmread(path)

    assert path.stat().st_size % BLOCK == 0
    assert list(kept) == list(sent)
    assert kept.file_meta.MediaStorageSOPInstanceUID == sent.SOPInstanceUID
    assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert kept.file_meta.PrivateInformationCreatorUID == implementation.CLASS_UID
