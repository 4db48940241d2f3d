"""Whatever a file is called elsewhere, here it gets a name that can be shown, stored and asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.tools.sandbox.names import is_presentable, numbered, presentable

LONG = "データ" * 100


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("sales.csv", "sales.csv"),
        ("Bericht für März (2).csv", "Bericht für März (2).csv"),
        ("Cafe\u0301.csv", "Café.csv"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Users\\a.txt", "C__Users_a.txt"),
        ("new\nline\x07.txt", "newline.txt"),
        ("\u202etxt.exe", "txt.exe"),
        (".env", "env"),
        ("~$report.docx", "$report.docx"),
        ("-rf", "rf"),
        ("  spaces  ", "spaces"),
        ("..", "file"),
        ("", "file"),
        (f"{LONG}.xlsx", f"{LONG[:65]}.xlsx"),
        (f"{LONG}.tar.gz", f"{LONG[:64]}.tar.gz"),
        ("\udc80.csv", "csv"),
    ],
)
def test_a_name_becomes_the_nearest_one_that_is_presentable(name: str, becomes: str) -> None:
    assert presentable(name) == becomes


@pytest.mark.parametrize(
    ("name", "another"),
    [
        ("sales.csv", "sales-2.csv"),
        ("a.tar.gz", "a-2.tar.gz"),
        ("README", "README-2"),
        (presentable(f"{LONG}.xlsx"), f"{LONG[:64]}-2.xlsx"),
    ],
)
def test_a_name_that_is_taken_gets_a_number_before_its_ending(name: str, another: str) -> None:
    assert numbered(name, 2) == another


@given(st.text(st.characters(), max_size=300) | st.text(".-~ /\\a\u3000\n", max_size=12), st.integers(2, 10**6))
def test_every_name_becomes_presentable_and_stays_so_with_a_number(name: str, number: int) -> None:
    given_name = presentable(name)
    assert is_presentable(given_name)
    assert "/" not in given_name
    assert presentable(given_name) == given_name
    assert is_presentable(numbered(given_name, number))
