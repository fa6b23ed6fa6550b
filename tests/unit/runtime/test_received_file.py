"""The file of a received instance: of PS3.10, with nothing of the peer's but the data set, and of whole blocks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import head, mr_series
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from stations import House, request_of

from storage.blocks import BLOCK
from vb_node.dimse import implementation, status
from vb_node.errors import Refused
from vb_node.pipeline.application import installed
from vb_node.runtime.receive import Receiver


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


def test_d_03_other_bytes_under_a_uid_that_another_process_is_taking_are_refused(house: House) -> None:
    """A lock of the kernel is another one's by the file that was opened, of this process too."""
    (dataset,) = mr_series(head((1, 16, 16)))
    first, (other,) = request_of(dataset), mr_series(head((1, 16, 16)), SeriesInstanceUID=dataset.SeriesInstanceUID)
    other.SOPInstanceUID, other.PatientComments = dataset.SOPInstanceUID, "changed"
    neighbour = Receiver(house.database, house.spool, name="receive 2")
    with house.database.write():  # no row is written meanwhile
        house.receiver.store(first)
        with pytest.raises(Refused) as underway:
            neighbour.store(request_of(other))
    house.receiver.settle()

    with pytest.raises(Refused) as known:
        neighbour.store(request_of(other))
    neighbour.store(first)
    neighbour.close()

    assert (underway.value.status, known.value.status) == (status.OUT_OF_RESOURCES, status.DUPLICATE)
    assert len(list(house.spool)) == 1


def test_a_series_in_two_studies_is_refused_whichever_process_takes_it(house: House) -> None:
    one, same, other = mr_series(head((3, 16, 16)))
    other.StudyInstanceUID = generate_uid()
    second, third = (Receiver(house.database, house.spool, name=f"receive {number}") for number in (2, 3))
    with house.database.write():  # no row is written meanwhile
        house.receiver.store(request_of(one))
        second.store(request_of(same))
        with pytest.raises(Refused) as underway:
            third.store(request_of(other))
    house.receiver.settle()
    second.close()

    with pytest.raises(Refused) as known:
        third.store(request_of(other))
    third.close()

    assert (underway.value.status, known.value.status) == (status.OUT_OF_RESOURCES, status.DUPLICATE)
    assert len(list(house.spool)) == 2
