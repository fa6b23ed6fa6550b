"""Catalogue D of RELIABILITY.md, section 4, as far as the door decides it: what a data set may be, and what is kept.

Every case ends with "alive". The cases of whole studies are decided when they are assembled.
"""

import hashlib
import os
import random
import re
from contextlib import ExitStack
from pathlib import Path
from struct import pack

import numpy as np
import pytest
from listener_process import MOST_GROWTH, ListenerProcess, instance
from pdu import (
    C_STORE,
    ECHO_CONTEXT,
    NO_DATA_SET,
    P_DATA,
    STORE_CONTEXT,
    Raw,
    abort,
    command,
    echo_rq,
    encoded,
    pdu,
    pdv,
    store_rq,
)
from processes import wait_until
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    generate_uid,
)

from vb_node.dimse.body import IN_MEMORY

IS_LONG = bool(os.environ.get("VB_NODE_LONG"))
MARGIN_S = 5.0
BAD_UIDS = ["../../x", "..", ".", "/etc/x", "..\\x", "1.2.\0003", "1." + "2" * 63, "1." + "2" * 998]


def _kept(node: ListenerProcess, series_instance_uid: str, count: int) -> None:
    wait_until(lambda: len(node.instances(series_instance_uid)) == count, MARGIN_S, f"the ledger holds {count}")


def _file(node: ListenerProcess, sop_instance_uid: str) -> Path:
    name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32]
    (path,) = (node.home / "data" / "spool").rglob(f"{name}-*.dcm")
    return path


def _with(data: bytes, element: bytes, at: int = 0) -> bytes:
    return data[:at] + element + data[at:]


def test_d_01_d_19_a_good_instance_is_kept_byte_for_byte_behind_a_preamble_of_zeros(node: ListenerProcess) -> None:
    dataset = instance()

    assert node.store(dataset) == 0

    _kept(node, dataset.SeriesInstanceUID, 1)
    (row,) = node.instances(dataset.SeriesInstanceUID)
    content = _file(node, dataset.SOPInstanceUID).read_bytes()
    assert row.sha256 == hashlib.sha256(encoded(dataset)).hexdigest()
    assert content.endswith(encoded(dataset))
    assert content[:132] == bytes(128) + b"DICM"


def test_d_02_the_same_instance_again_and_again_is_kept_once(node: ListenerProcess) -> None:
    dataset = instance()
    request = store_rq(dataset, dataset.SOPClassUID, dataset.SOPInstanceUID)

    with Raw(node.port) as peer:
        peer.associate()
        answers = [peer.send(*request).status() for _ in range(100 if IS_LONG else 20)]
    answers.append(node.store(dataset))

    assert set(answers) == {0}
    _kept(node, dataset.SeriesInstanceUID, 1)
    assert _file(node, dataset.SOPInstanceUID)


def test_d_03_other_bytes_under_a_known_uid_are_refused_and_told_of(node: ListenerProcess) -> None:
    dataset = instance()
    first = encoded(dataset)
    assert node.store(dataset) == 0
    dataset.PatientComments = "changed"

    at_once, _ = node.store(dataset), _kept(node, dataset.SeriesInstanceUID, 1)
    later = node.store(dataset)

    assert (at_once, later) == (0x0111, 0x0111)
    assert _file(node, dataset.SOPInstanceUID).read_bytes().endswith(first)
    wait_until(lambda: len(_refusals(node, dataset.SOPInstanceUID)) == 2, MARGIN_S, "the audit trail tells of both")


def _refusals(node: ListenerProcess, sop_instance_uid: str) -> list[str]:
    events = node.events(sop_instance_uid=sop_instance_uid)
    return [event.details["status"] for event in events if event.event == "instance refused"]


@pytest.mark.parametrize("keyword", ["SeriesInstanceUID", "StudyInstanceUID", "PatientID"])
def test_d_04_a_known_uid_in_another_place_is_refused(node: ListenerProcess, keyword: str) -> None:
    dataset = instance()
    assert node.store(dataset) == 0
    setattr(dataset, keyword, generate_uid())

    assert node.store(dataset) == 0x0111


def test_d_04_a_known_series_in_another_study_is_refused(node: ListenerProcess) -> None:
    first, second = instance(), instance()
    second.SeriesInstanceUID = first.SeriesInstanceUID
    assert node.store(first) == 0

    assert node.store(second) == 0x0111


def test_d_08_another_class_than_announced_is_refused(node: ListenerProcess) -> None:
    dataset = instance()
    dataset.SOPClassUID = CTImageStorage

    assert node.store(encoded(dataset), MRImageStorage, dataset.SOPInstanceUID) == 0xA901


def test_d_09_another_instance_than_announced_is_refused(node: ListenerProcess) -> None:
    assert node.store(encoded(instance()), MRImageStorage, "1.2.3.4") == 0xA902


@pytest.mark.parametrize("uid", BAD_UIDS, ids=lambda uid: repr(uid[:12]))
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_d_10_d_11_d_13_a_uid_that_is_none_is_refused_and_names_no_file(
    node: ListenerProcess, keyword: str, uid: str
) -> None:
    dataset, files = instance(), set(node.home.rglob("*"))
    announced = uid if keyword == "SOPInstanceUID" else dataset.SOPInstanceUID
    dataset.PatientID = "../../patient"
    data = encoded(dataset).replace(_element(dataset, keyword), _long_element(keyword, uid))

    assert node.store(data, MRImageStorage, announced) == 0xC005

    assert set(node.home.rglob("*")) == files


def _element(dataset: Dataset, keyword: str) -> bytes:
    value = str(getattr(dataset, keyword)).encode()
    value += bytes(len(value) % 2)
    return _tag(keyword) + b"UI" + pack("<H", len(value)) + value


def _long_element(keyword: str, uid: str) -> bytes:
    value = uid.encode() + bytes(len(uid) % 2)
    return _tag(keyword) + b"UI" + pack("<H", len(value)) + value


def _tag(keyword: str) -> bytes:
    group, element = {
        "SOPInstanceUID": (0x0008, 0x0018),
        "StudyInstanceUID": (0x0020, 0x000D),
        "SeriesInstanceUID": (0x0020, 0x000E),
    }[keyword]
    return pack("<HH", group, element)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
@pytest.mark.parametrize("is_empty", [True, False], ids=["empty", "missing"])
def test_d_10_d_15_a_uid_that_is_not_there_is_refused(node: ListenerProcess, keyword: str, is_empty: bool) -> None:
    dataset = instance()
    uid = dataset.SOPInstanceUID
    if is_empty:
        setattr(dataset, keyword, "")
    else:
        delattr(dataset, keyword)

    assert node.store(encoded(dataset), MRImageStorage, uid) == 0xC004


@pytest.mark.parametrize("uid", ["1.02.003", "1.2.3." + "4" * 58], ids=["leading_zeros", "64_characters"])
def test_d_12_an_odd_but_legal_uid_is_kept_under_its_digest(node: ListenerProcess, uid: str) -> None:
    dataset = instance()
    dataset.SOPInstanceUID = uid

    assert node.store(encoded(dataset), MRImageStorage, uid + "\0") == 0

    assert _file(node, uid)


def test_d_14_d_24_a_class_that_is_not_taken_is_refused(node: ListenerProcess) -> None:
    dataset = instance()
    dataset.SOPClassUID = MediaStorageDirectoryStorage
    dataset.add_new(0x00041500, "CS", ["..", "..", "ETC"])

    assert node.store(dataset) == 0x0122


def test_d_15_a_request_without_a_data_set_is_refused(node: ListenerProcess) -> None:
    request = command(C_STORE, MRImageStorage, "1.2.3", data_set_type=NO_DATA_SET)
    with Raw(node.port) as peer:
        peer.associate()
        alone = peer.send(pdu(P_DATA, pdv(STORE_CONTEXT, request, is_command=True))).status()

    assert alone == 0xC004
    assert node.store(b"", MRImageStorage, "1.2.3") == 0xC004


def test_d_16_a_cut_data_set_is_never_taken(node: ListenerProcess) -> None:
    dataset = instance()
    data = encoded(dataset)
    with Raw(node.port) as peer:
        peer.associate()

        answers = {
            peer.send(*store_rq(data[:cut], MRImageStorage, dataset.SOPInstanceUID)).status()
            for cut in range(0, len(data), 1 if IS_LONG else 11)
        }

    assert answers <= {0xC000, 0xC001, 0xC004, 0xA903}


@pytest.mark.parametrize("size", [0, 100, 510, 514, 1024])
def test_d_17_pixel_data_of_another_length_is_refused(node: ListenerProcess, size: int) -> None:
    dataset = instance()
    dataset.PixelData = bytes(size)

    assert node.store(dataset) == 0xA903


def test_d_18_parsers_never_choose_between_two_values(node: ListenerProcess) -> None:
    dataset = instance()
    data = encoded(dataset)
    again = _element(dataset, "SOPInstanceUID")
    two = _long_element("StudyInstanceUID", "1.2\\1.3")
    disordered = _with(data, pack("<HH", 0x0010, 0x4000) + b"LT" + pack("<H", 2) + b"ab")

    def send(changed: bytes) -> int:
        return node.store(changed, MRImageStorage, dataset.SOPInstanceUID)

    assert send(_with(data, again)) == 0xC000
    assert send(data.replace(_element(dataset, "StudyInstanceUID"), two)) == 0xC005
    assert send(_with(data, pack("<HH", 2, 0x10) + b"UI" + pack("<H", 2) + b"1\0")) == 0xC000
    assert send(disordered) == 0


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (b"ISO_IR 192", b"\xff\xfe\xc3"),
        (b"", b"M\xfcller^J\xf6rg "),
        (b"ISO 2022 IR 13\\ISO 2022 IR 87", b"\x1b$B;3ED\x1b(J"),
        (b"NO SUCH SET", b"\xe4\xe4"),
        (b"ISO_IR 192", b"a^b^c^d^e=^^^=\xf0\x9f\xa7\xa0\xe2\x80\xae\x07 "),
    ],
    ids=["invalid_utf8", "none_stated", "iso_2022", "unknown", "odd_name"],
)
def test_d_20_d_21_text_that_lies_about_its_characters_is_kept_as_it_came(
    node: ListenerProcess, character_set: bytes, name: bytes
) -> None:
    dataset = instance()
    del dataset.PatientName, dataset.PatientID
    dataset.pop("SpecificCharacterSet", None)
    texts = ((0x0005, b"CS", character_set), (0x0010, b"PN", name), (0x0020, b"LO", name))
    written = [
        pack("<HH", 0x0008 if number == 0x0005 else 0x0010, number) + vr + pack("<H", len(value)) + value
        for number, vr, value in ((number, vr, value + b" " * (len(value) % 2)) for number, vr, value in texts)
    ]
    data = written[0] + encoded(dataset) + written[1] + written[2]

    assert node.store(data, MRImageStorage, dataset.SOPInstanceUID) == 0

    assert _file(node, dataset.SOPInstanceUID).read_bytes().endswith(data)


def test_d_22_ten_thousand_private_elements_are_kept_and_a_length_beyond_the_end_is_not(node: ListenerProcess) -> None:
    dataset = instance()
    many = b"".join(pack("<HH", 0x7FE1, 0x1000 + number) + b"LO" + pack("<H", 2) + b"x " for number in range(10_000))
    endless = pack("<HH", 0x7FE1, 0x1000) + b"UN" + pack("<HL", 0, 1 << 31)

    assert node.store(encoded(dataset) + many, MRImageStorage, dataset.SOPInstanceUID) == 0
    assert node.store(encoded(instance()) + endless, MRImageStorage, "1.2.3") == 0xC001


def test_d_25_message_ids_may_come_again_and_wrap(node: ListenerProcess) -> None:
    with Raw(node.port) as peer:
        peer.associate()

        assert [peer.send(echo_rq(number)).status() for number in (7, 7, 65535, 0)] == [0, 0, 0, 0]


def test_d_26_a_command_that_is_none_is_answered_or_aborted(node: ListenerProcess) -> None:
    def ask(content: bytes, context: int = STORE_CONTEXT) -> int:
        with Raw(node.port) as peer:
            peer.associate()
            return peer.send(pdu(P_DATA, pdv(context, content, is_command=True))).status()

    no_data = {"data_set_type": NO_DATA_SET}
    assert ask(command(0x7777, MRImageStorage, "1.2.3", **no_data)) == 0x0211
    assert ask(command(C_STORE, None, "1.2.3", **no_data)) == 0x0212
    assert ask(command(C_STORE, MRImageStorage, None, **no_data)) == 0x0212
    assert ask(command(C_STORE, MRImageStorage, "1.2.3", **no_data), ECHO_CONTEXT) == 0x0122


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\0\1", b"\0\0\0\1\xff\xff\xff\xff", b"\x08\0\x18\0\2\0\0\0ab"],
    ids=["empty", "cut", "endless", "another_group"],
)
def test_d_26_a_command_set_without_structure_is_aborted(node: ListenerProcess, content: bytes) -> None:
    with Raw(node.port) as peer:
        peer.associate()

        assert peer.send(pdu(P_DATA, pdv(STORE_CONTEXT, content, is_command=True))).ended(MARGIN_S) == abort(2, 6)


def test_d_26_data_that_were_not_announced_are_aborted(node: ListenerProcess) -> None:
    with Raw(node.port) as peer:
        peer.associate()
        announced = command(C_STORE, MRImageStorage, "1.2.3", data_set_type=NO_DATA_SET)
        peer.send(pdu(P_DATA, pdv(STORE_CONTEXT, announced, is_command=True))).status()

        assert peer.send(pdu(P_DATA, pdv(STORE_CONTEXT, b"data", is_command=False))).ended(MARGIN_S) == abort(2, 2)


@pytest.mark.parametrize("is_one_each", [True, False], ids=["an_association_each", "one_association"])
def test_d_27_a_series_over_one_or_many_associations_is_one_series(node: ListenerProcess, is_one_each: bool) -> None:
    datasets = _series(4000 if IS_LONG else 30)

    if is_one_each:
        answers = {node.store(one) for one in datasets}
    else:
        with Raw(node.port) as peer:
            peer.associate()
            answers = {peer.send(*store_rq(one, one.SOPClassUID, one.SOPInstanceUID)).status() for one in datasets}

    assert answers == {0}
    _kept(node, datasets[0].SeriesInstanceUID, len(datasets))


def _series(count: int) -> list[Dataset]:
    study, series = generate_uid(), generate_uid()
    made = [instance() for _ in range(count)]
    for one in made:
        one.StudyInstanceUID, one.SeriesInstanceUID = study, series
    return made


def test_d_28_an_instance_beyond_the_limit_is_refused_and_not_held_in_memory(node: ListenerProcess) -> None:
    dataset = instance()
    dataset.PixelData = np.zeros(64 << 20, np.uint8).tobytes()

    assert node.store(dataset) == 0xA702
    wait_until(lambda: _refusals(node, dataset.SOPInstanceUID) == ["A702"], MARGIN_S, "the audit trail tells of it")


def test_d_28_what_is_large_takes_little_memory_however_much_of_it_comes_at_once(tmp_path: Path) -> None:
    node = ListenerProcess(tmp_path / "large")
    text = node.config.read_text().replace("max_instance_mb = 8", "max_instance_mb = 128")
    node.config.write_text(text.replace("stall_s = 2", "stall_s = 20"))
    large = _large(48 << 20)
    node.start()
    try:
        node.warm_up()
        before = _peak(node)
        with ExitStack() as stack:
            halves = []
            for one in large:
                peer = stack.enter_context(Raw(node.port))
                peer.associate()
                *most, last = store_rq(one, one.SOPClassUID, one.SOPInstanceUID)
                peer.send(*most)
                halves.append((peer, last))
            answers = [peer.send(last).status() for peer, last in halves]
        again = [node.store(one) for one in large[:1]]
        grown = _peak(node) - before
        left = node.orphans()
        kept = {path.stat().st_size >> 20 for path in node.files()}
    finally:
        node.stop()

    assert (answers, again, left) == ([0] * len(large), [0], [])
    assert 48 in kept
    assert grown < len(large) * IN_MEMORY + MOST_GROWTH


def _large(size: int, count: int = 4) -> list[Dataset]:
    made = [instance() for _ in range(count)]
    for number, one in enumerate(made):
        one.Rows, one.Columns = size >> 13, 4096
        one.PixelData = bytes([number]) * size
    return made


def _peak(node: ListenerProcess) -> int:
    """Give the most that was in memory of the process so far, in bytes."""
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_d_29_what_is_sent_again_after_an_abort_is_kept_once(node: ListenerProcess, taken: int) -> None:
    datasets = _series(5)
    with Raw(node.port) as peer:
        peer.associate()
        for one in datasets[:taken]:
            assert peer.send(*store_rq(one, one.SOPClassUID, one.SOPInstanceUID)).status() == 0
        half = store_rq(datasets[taken], MRImageStorage, datasets[taken].SOPInstanceUID)[:1]
        peer.send(*half, abort(0, 0)).ended(MARGIN_S)

    random.Random(taken).shuffle(datasets)
    assert {node.store(one) for one in datasets} == {0}

    _kept(node, datasets[0].SeriesInstanceUID, 5)
