"""Catalogue W-10, W-11, W-14 and W-19 of RELIABILITY.md, section 4, where the code itself is the proof."""

import ast
import csv
import io
import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from vb_node import show

FILES = sorted([*(ROOT / "vb_node").rglob("*.py"), *(ROOT / "storage").rglob("*.py")])
STARTERS = {"subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}
BY_A_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"}
BY_TEXT = {"eval", "exec", "compile", "pickle.load", "pickle.loads", "yaml.load", "marshal.loads"}
OF_A_PEER = {"socket.gethostbyaddr", "socket.getnameinfo", "socket.getfqdn"}
XML_WRITTEN = {"Element", "SubElement", "tostring", "ElementTree"}


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return ast.parse(request.param.read_text("utf-8"))


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Give each call with the name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def _imported(tree: ast.Module) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _wrong_starts(tree: ast.Module) -> list[str]:
    """List what starts a program by a shell or by text, or as one string of words."""
    wrong = [name for name, _ in _calls(tree) if name in BY_A_SHELL | BY_TEXT]
    wrong += [name for name in _imported(tree) if name in BY_A_SHELL | STARTERS]  # by its last name alone
    for name, call in _calls(tree):
        words = {keyword.arg for keyword in call.keywords}
        is_text = bool(call.args) and isinstance(call.args[0], ast.Constant | ast.JoinedStr)
        if "shell" in words or (name in STARTERS and is_text):
            wrong.append(ast.unparse(call))
    return wrong


def _wrong_names(tree: ast.Module) -> list[str]:
    """List who asks for the name of a peer's address: the answer is the peer's to choose."""
    return [name for name, _ in _calls(tree) if name in OF_A_PEER]


def _xml_read(tree: ast.Module) -> list[str]:
    """List what could read XML."""
    of_xml = {name for name in _imported(tree) if name.split(".")[0] in {"xml", "lxml", "defusedxml", "xmltodict"}}
    read = {"parse", "fromstring", "fromstringlist", "XML", "XMLID", "iterparse", "XMLParser", "XMLPullParser"}
    used = [name for name, _ in _calls(tree) if of_xml and name.rpartition(".")[2] in read]
    return used + [name for name in of_xml if name.rpartition(".")[2] not in XML_WRITTEN]


def test_w_10_no_program_is_started_by_a_shell_or_by_text(tree: ast.Module) -> None:
    assert _wrong_starts(tree) == []


def test_w_10_no_address_is_asked_for_its_name(tree: ast.Module) -> None:
    assert _wrong_names(tree) == []


def test_w_19_nothing_reads_xml(tree: ast.Module) -> None:
    assert _xml_read(tree) == []


@pytest.mark.parametrize(
    ("look", "code"),
    [
        (_wrong_starts, "subprocess.run(words, shell=True)"), (_wrong_starts, "subprocess.Popen(f'ls {name}')"),
        (_wrong_starts, "os.system(words)"), (_wrong_starts, "from os import popen"), (_wrong_starts, "eval(text)"),
        (_wrong_starts, "from subprocess import run"), (_wrong_names, "socket.getfqdn(host)"),
        (_xml_read, "from xml.etree import ElementTree\nElementTree.fromstring(body)"), (_xml_read, "import xml.sax"),
        (_xml_read, "from xml.etree.ElementTree import parse"), (_xml_read, "import lxml.etree"),
    ],
)  # fmt: skip
def test_w_10_w_19_the_looks_find_what_they_look_for(look: Callable[[ast.Module], list[str]], code: str) -> None:
    assert look(ast.parse(code))


def test_w_11_one_place_writes_csv() -> None:
    writers = [path for path in FILES if re.search(r"\bcsv\.(writer|DictWriter)|\.to_csv\(", path.read_text("utf-8"))]

    assert writers == [ROOT / "vb_node" / "show.py"]


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
BEGINNINGS = st.sampled_from(
    ["", "=", "+", "-", "@", "\t", "\r", "\n", " =", "\t@", "\r\n+", "\uff1d", '"=', ";=", ",="]
)


@given(values=st.lists(st.tuples(BEGINNINGS, TEXT).map("".join), min_size=2, max_size=2), number=st.integers())
def test_w_11_no_cell_is_a_formula_and_each_stays_in_its_place(values: list[str], number: int) -> None:
    written = io.StringIO()

    show.write_csv(written, [{"a": values[0], "b": values[1], "c": number}], ["a", "b", "c"])
    rows = list(csv.reader(io.StringIO(written.getvalue(), newline="")))

    assert [len(row) for row in rows] == [3, 3]
    for cell in rows[1]:
        assert cell.strip()[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")
        assert cell.isprintable() or not cell
    assert str(number) == rows[1][2].removeprefix("'")


def test_w_14_no_function_of_pages_or_api_takes_an_address() -> None:
    """Whoever may do what: what is asked, and where results go, is a word of the configuration."""
    words = {"url", "uri", "host", "address", "port", "callback", "target", "webhook"}
    asked = {
        node.value
        for path in sorted((ROOT / "vb_node" / "web").glob("*.py"))
        for call in (one for _, one in _calls(ast.parse(path.read_text("utf-8"))))
        if ast.unparse(call.func).endswith(("query_params.get", "given.get", "path_params.get"))
        for node in call.args[:1]
        if isinstance(node, ast.Constant)
    }

    assert asked
    assert not asked & words
