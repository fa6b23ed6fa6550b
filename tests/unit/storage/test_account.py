"""Who runs a process, for the audit trail."""

import os

import pytest

from storage.account import account

NOBODY = 3_999_999_999


def test_an_account_that_has_a_name_is_told_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")

    assert account() == "ann"


def test_an_account_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NOBODY)

    assert account() == f"uid {NOBODY}"
