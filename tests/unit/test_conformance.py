"""The Conformance Statement says what the node does: its tables are the node's own, and the listener is asked."""

import ast
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from processes import HOST, free_port
from pydicom.uid import UID, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE

from vb_node.config import EXAMPLE, build, load
from vb_node.conformance import content, example, network, origin
from vb_node.conformance.statement import statement
from vb_node.dicom import admission, codes
from vb_node.dimse import contexts, door, implementation, scp
from vb_node.dimse.guard import Limits
from vb_node.dimse.listener import Listener
from vb_node.dimse.negotiation import Rejection
from vb_node.runtime import receive

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
PRINT = "vb-node conformance > docs/conformance.md"


@pytest.fixture(scope="module")
def printed() -> str:
    return statement(build({}), is_default=True)


@pytest.fixture
def listener() -> Iterator[Listener]:
    limits = Limits(max_associations=1)
    server = scp.listen("NODE", (HOST, free_port()), lambda _: None, peers=[door.Peer("PEER")], limits=limits)
    yield server
    server.shutdown()


def _associate(server: Listener, calling: str, called: str, *syntaxes: UID) -> Association:
    ae = AE(ae_title=calling)
    ae.add_requested_context(MRImageStorage, list(syntaxes) or None)
    return ae.associate(HOST, server.address[1], ae_title=called)


def test_the_document_is_what_this_version_prints(printed: str) -> None:
    written = DOCUMENT.read_text("utf-8")

    changed = "\n".join(difflib.unified_diff(written.splitlines(), printed.splitlines(), "docs", "printed", n=0))
    assert not changed, f"{changed}\nprint it again: {PRINT}"


def test_nothing_of_the_template_is_left_open(printed: str) -> None:
    assert not re.findall(r"\$\w+", printed)


def test_every_class_that_is_accepted_stands_in_it(printed: str) -> None:
    classes = [str(context.abstract_syntax) for context in contexts.accepted_as_scp()]

    assert len(classes) > 100
    assert not [uid for uid in classes if f"`{uid}`" not in printed]


def test_every_code_stands_in_it(printed: str) -> None:
    found = [value if isinstance(value, dict) else {"": value} for value in vars(codes).values()]
    ours = [code for table in found for code in table.values() if isinstance(code, codes.Code)]

    assert len(ours) > 60
    assert not [code for code in ours if content.told(code) not in printed]


@pytest.mark.parametrize("module", [admission, receive], ids=["admission", "receive"])
def test_every_status_that_refuses_stands_in_it(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refused"]
    statuses = {eval(ast.unparse(call.args[1]), vars(module)) for call in calls}

    assert statuses
    assert statuses <= set(network.ANSWERED)


@pytest.mark.parametrize(
    ("calling", "called", "stated"),
    [("PEER", "OTHER", door.CALLED_AE_UNKNOWN), ("OTHER", "NODE", door.CALLING_AE_UNKNOWN)],
)
def test_the_listener_rejects_a_stranger_as_stated(
    listener: Listener, calling: str, called: str, stated: Rejection
) -> None:
    association = _associate(listener, calling, called)

    assert _rejection(association) == stated.numbers
    assert stated in network.REJECTED


def test_the_listener_rejects_one_association_too_many_as_stated(listener: Listener) -> None:
    first, second = _associate(listener, "PEER", "NODE"), _associate(listener, "PEER", "NODE")
    first.release()

    assert _rejection(second) == door.LIMIT_EXCEEDED.numbers
    assert door.LIMIT_EXCEEDED in network.REJECTED


def _rejection(association: Association) -> tuple[int, int, int]:
    # where it came too quickly for pynetdicom it is still queued
    answer = association.acceptor.primitive or association.dul.peek_next_pdu()
    assert isinstance(answer, A_ASSOCIATE)
    return answer.result, answer.result_source, answer.diagnostic


def test_the_listener_takes_the_first_transfer_syntax_of_its_table(listener: Listener) -> None:
    association = _associate(listener, "PEER", "NODE", *reversed((*contexts.NATIVE, *contexts.COMPRESSED)))
    accepted = association.accepted_contexts[0].transfer_syntax
    association.release()

    assert accepted == [contexts.NATIVE[0]]


def test_the_listener_names_the_implementation_as_stated(listener: Listener, printed: str) -> None:
    association = _associate(listener, "PEER", "NODE")
    acceptor = association.acceptor
    association.release()

    assert acceptor.implementation_class_uid == implementation.CLASS_UID
    assert acceptor.implementation_version_name == implementation.VERSION_NAME
    assert acceptor.maximum_length == Limits().max_pdu
    assert f"`{implementation.CLASS_UID}`" in printed
    assert f"`{implementation.VERSION_NAME}`" in printed


def test_the_origin_of_an_attribute_is_told_by_what_it_follows() -> None:
    origins = origin.of_every_object()["SEG"].origins

    assert origins[_tag("PatientID")] == origin.COPY
    assert origins[_tag("SOPInstanceUID")] == origin.AUTO
    assert origins[_tag("SegmentationType")] == f"{origin.FIXED} `BINARY`"


def _tag(keyword: str) -> object:
    return example.objects(1, 1)["SEG"][keyword].tag


def test_the_statement_of_a_node_has_its_titles_and_addresses(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(EXAMPLE.replace('"VBNODE"', '"THENODE"').replace('"PACS"', '"THEPACS"'))

    printed = statement(load(file), is_default=False)

    assert "| THENODE | 127.0.0.1 | 11112 |" in printed
    assert "| THEPACS | sends to the node | 127.0.0.1 |" in printed
    assert "| THEPACS | destination pacs, `standard` | 127.0.0.1:4242 |" in printed


def test_the_statement_of_a_node_tells_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[node]\ndatabase = "postgresql://node:hush-hush@db/ledger"\n')

    assert "hush-hush" not in statement(load(file), is_default=False)
