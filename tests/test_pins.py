"""What is installed is what was locked: exact versions, a hash for each file, and no address to fetch it from."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.server import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WANTED = {
    "requirements.txt": PROJECT["project"]["dependencies"],
    "tests/requirements.txt": PROJECT["dependency-groups"]["test"],
    "chat/tools/sandbox/requirements.txt": PROJECT["dependency-groups"]["sandbox"],
    ".ci/installer.txt": PROJECT["dependency-groups"]["installer"],
}
PIN = re.compile(r"[a-z0-9-]+==\S+( ; [^\\]+)?(\s+--hash=sha256:[0-9a-f]{64})+")


def pins(path: str) -> list[str]:
    """Each with its hashes, on one line."""
    return (ROOT / path).read_text().replace("\\\n", "").strip().splitlines()


@pytest.mark.parametrize("path", WANTED)
def test_everything_has_an_exact_version_and_the_hashes_of_its_files_and_no_address(path: str) -> None:
    assert [pin for pin in pins(path) if not PIN.fullmatch(pin)] == []


@pytest.mark.parametrize("path", WANTED)
def test_what_the_project_asks_for_is_pinned_within_the_versions_that_it_takes(path: str) -> None:
    pinned: dict[str, str] = {}
    for pin in pins(path):
        name, version = pin.split()[0].split("==")
        pinned[name] = version
    for wanted in map(Requirement, WANTED[path]):
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)])


def test_what_site_and_tests_share_is_the_same_version() -> None:
    site, tests = ({pin.split()[0] for pin in pins(path)} for path in ("requirements.txt", "tests/requirements.txt"))
    names = {pin.split("==")[0] for pin in site}
    assert {pin for pin in tests if pin.split("==")[0] in names} <= site


def test_every_installation_checks_the_hashes() -> None:
    makefile = (ROOT / "Makefile").read_text()
    commands = [line for line in makefile.splitlines() if "pip install" in line]
    assert len(commands) == 3
    assert all("--require-hashes" in line for line in commands)
    assert '"--require-hashes"' in (ROOT / "chat/tools/sandbox/install.py").read_text()
