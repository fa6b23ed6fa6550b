"""Rules over DICOM keywords: a closed grammar, written like Python and never run as Python.

``Modality == "MR" and not matches(SeriesDescription, "test") and RepetitionTime < 3000``

Names are keywords of PS3.6; an absent attribute is None, a multi-valued one is equal to each of its values. There
are ``and``, ``or``, ``not``, comparisons, ``in (...)``, and the tests ``matches(keyword, pattern)`` (regular
expression, found anywhere, case ignored) and ``present(keyword)``.
"""

import ast
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from vb_node.errors import ConfigError

Rule = Callable[[Dataset], bool]

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def parse(text: str) -> Rule:
    """Compile a rule; an empty one is true of everything.

    Raises
    ------
    ConfigError
        The rule uses a word or form that the grammar does not have.
    """
    if not text.strip():
        return lambda _header: True
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise ConfigError(f"rule {text!r}: {error.msg} at character {error.offset}") from error
    return _build(tree, text)


def _build(node: ast.expr, text: str) -> Rule:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_build(value, text) for value in values]
            gather = all if isinstance(op, ast.And) else any
            return lambda header: gather(part(header) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            part = _build(operand, text)
            return lambda header: not part(header)
        case ast.Compare(left=ast.Name(id=keyword), ops=[op], comparators=[right]):
            return _comparison(_keyword(keyword, text), op, _constant(right, text), text)
        case ast.Call(
            func=ast.Name(id="matches"), args=[ast.Name(id=keyword), ast.Constant(value=str(pattern))], keywords=[]
        ):
            return _match(_keyword(keyword, text), pattern, text)
        case ast.Call(func=ast.Name(id="present"), args=[ast.Name(id=keyword)], keywords=[]):
            name = _keyword(keyword, text)
            return lambda header: any(str(value).strip() for value in _values(header, name))
    raise ConfigError(
        f"rule {text!r}: {ast.unparse(node)!r} is not in the grammar; "
        "it has KEYWORD == value, in (...), matches(), present(), and, or, not"
    )


def _comparison(keyword: str, op: ast.cmpop, wanted: Any, text: str) -> Rule:
    if isinstance(op, ast.In | ast.NotIn) and isinstance(wanted, tuple):
        is_in = isinstance(op, ast.In)
        return lambda header: any(value in wanted for value in _values(header, keyword)) == is_in
    compare = _COMPARE.get(type(op))
    if compare is None or isinstance(wanted, tuple):
        raise ConfigError(
            f"rule {text!r}: {keyword} can be compared by == != < <= > >= with a value, or by `in` with a list of them"
        )
    if isinstance(op, ast.NotEq):
        return lambda header: wanted not in _values(header, keyword)
    return lambda header: any(_holds(compare, value, wanted) for value in _values(header, keyword))


def _match(keyword: str, pattern: str, text: str) -> Rule:
    try:
        expression = re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise ConfigError(f"rule {text!r}: {pattern!r} is no regular expression ({error})") from error
    return lambda header: any(expression.search(str(value)) for value in _values(header, keyword))


def _holds(compare: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    try:
        return compare(type(wanted)(value), wanted)
    except (TypeError, ValueError):
        return False


def _values(header: Dataset, keyword: str) -> Sequence[Any]:
    value = header.get(keyword)
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _keyword(name: str, text: str) -> str:
    if tag_for_keyword(name) is None:
        raise ConfigError(f"rule {text!r}: {name!r} is no DICOM keyword (PS3.6), such as SeriesDescription")
    return name


def _constant(node: ast.expr, text: str) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = None
    if isinstance(value, str | int | float) or (isinstance(value, tuple | list) and value):
        return tuple(value) if isinstance(value, list) else value
    raise ConfigError(f"rule {text!r}: a text, a number or a list of them expected, {ast.unparse(node)!r} came")
