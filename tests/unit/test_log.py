"""The log: one line an event, whatever a peer sends."""

import json
import logging

from vb_node.log import LONGEST_VALUE, JsonLines


def _line(**extra: object) -> str:
    record = logging.LogRecord("vb_node.x", logging.INFO, "f", 1, "job claimed", (), None)
    vars(record).update(extra)
    return JsonLines().format(record)


def test_a_record_is_one_line_of_json_with_its_ids() -> None:
    line = json.loads(_line(job=7))

    assert (line["event"], line["job"], line["level"]) == ("job claimed", 7, "info")


def test_w_17_a_value_with_line_breaks_and_escapes_stays_on_one_line() -> None:
    line = _line(peer="A\nB\x1b[31m")

    assert "\n" not in line
    assert "\x1b" not in line


def test_w_17_a_long_value_is_cut() -> None:
    assert len(json.loads(_line(peer="A" * 100_000))["peer"]) == LONGEST_VALUE
