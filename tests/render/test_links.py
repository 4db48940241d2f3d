"""Addresses in a model's text: which become links, and what a link says of itself."""

from __future__ import annotations

import pytest

from chat.render.markdown import render
from tests.render.audit import Audit


@pytest.mark.parametrize(
    "url",
    [
        *(
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\tscript:alert(1)",
            "&#106;avascript:alert(1)",
            "vbscript:x",
        ),
        *(
            "data:text/html,<script>",
            "data:image/png;base64,AA",
            "file:///etc/passwd",
            "//evil.example",
            "/admin",
            "#id",
        ),
        *(
            "http:evil",
            "https:\\\\evil.example",
            "http://",
            "ftp://a.b",
            "blob:http://a",
            "x",
            "\x01javascript:alert(1)",
        ),
        *("http://a.example\\@evil.example\x00", "mailto:", "mailto://x", " javascript:alert(1)"),
    ],
)
@pytest.mark.parametrize(
    "form", ["[x]({})", "[x](<{}>)", "<{}>", "![x]({})", "[x]\n\n[x]: {}", "{}", "[![x]({})](http://a)"]
)
def test_an_unsafe_address_is_plain_text(form: str, url: str) -> None:
    html = render(form.format(url))
    Audit(html)
    assert 'href="' not in html.replace('href="http://a"', "").replace('href="http://a.example', "")


@pytest.mark.parametrize("url", ["http://a.example/b?c=d&e#f", "HTTPS://a.example", "mailto:a@b.example"])
def test_a_safe_address_is_a_link_that_opens_elsewhere(url: str) -> None:
    Audit(render(f"[x]({url})"))
    assert '<a href="' in render(f"[x]({url})")


def test_addresses_in_running_text_are_links_and_file_names_are_not() -> None:
    html = render("See https://a.example/b_c_d, me@example.org, setup.py, README.md and www.a.example.")
    assert html.count("<a ") == 2
    assert 'href="https://a.example/b_c_d"' in html
    assert 'href="mailto:me@example.org"' in html


def test_a_picture_is_a_link_named_by_its_alternative_text() -> None:
    html = render("![a *cat*](https://a.example/cat.png) [![badge](https://a.example/b.svg)](https://c.example)")
    assert "<img" not in html
    assert ">a cat</a>" in html
    assert html.count("<a ") == 2


def test_no_link_is_in_a_link() -> None:
    assert render("[a <https://b.example> c](https://d.example)").count("<a ") == 1


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[your bank](https://evil.example/?q=secret)", "evil.example"),
        ("[https://bank.example/](https://evil.example/)", "evil.example"),
        ("[x](HTTPS://EVIL.Example:8443/a)", "evil.example"),
        ("[x](https://bank.example@evil.example/)", "evil.example"),
        ("https://bank.example@evil.example/", "evil.example"),
        ("<https://bank.example:80@evil.example/>", "evil.example"),
        ("https://b\u0430nk.example/", "xn--bnk-6cd.example"),
        ("[x](https://b\u0430nk.example/)", "xn--bnk-6cd.example"),
        ("![a chart](https://evil.example/chart.png?q=secret)", "evil.example"),
        ("[support](mailto:me@evil.example?body=secret)", "me@evil.example"),
        ("[x]\n\n[x]: https://evil.example/", "evil.example"),
        ("[x](https://" + "bank.example." * 10 + "evil.example/)", "…" + ("bank.example." * 10 + "evil.example")[-60:]),
    ],
)
def test_a_link_says_where_it_leads_when_its_text_does_not(text: str, host: str) -> None:
    html = render(text)
    Audit(html)
    assert f'data-host="{host}"' in html


@pytest.mark.parametrize(
    "text", ["https://a.example/b?c=d", "<https://a.example>", "me@example.org", "![](https://a.example/b)"]
)
def test_an_address_that_is_written_out_says_it_itself(text: str) -> None:
    html = render(text)
    assert html.count("<a ") == 1
    assert "data-host" not in html


@pytest.mark.parametrize("url", ["http://?x", "http://@/x", "https://:443/"])
def test_an_address_without_a_host_is_no_link(url: str) -> None:
    html = render(f"[x]({url}) <{url}> {url}")
    Audit(html)
    assert "<a " not in html
