"""The work folder is read and changed from outside without being led astray, whatever is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chat.tools.sandbox.folder import NoSuchFileError, WorkFolder, changes, is_presentable
from chat.tools.sandbox.values import Limits

LIMITS = Limits(folder_max_bytes=1 << 20, folder_entries_max=50, folder_depth_max=4)


@pytest.fixture
def folder(tmp_path: Path) -> WorkFolder:
    folder = WorkFolder(tmp_path / "work")
    folder.create(None)
    return folder


def write(folder: WorkFolder, name: str, content: bytes = b"x") -> None:
    path = folder.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_change_is_seen_also_when_size_and_time_stay(folder: WorkFolder) -> None:
    write(folder, "a")
    write(folder, "b")
    before = folder.scan(LIMITS)
    times = (folder.path / "a").stat()
    write(folder, "a", b"y")
    os.utime(folder.path / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    write(folder, "new/c")
    found = changes(before, folder.scan(LIMITS))
    assert sorted((file.name, file.is_new) for file in found) == [("a", False), ("new/c", True)]


def write_many(folder: WorkFolder, count: int) -> None:
    for number in range(count):
        write(folder, f"{number}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: write_many(folder, 60), "50 files"),
        (lambda folder: write(folder, "big", b"x" * (2 << 20)), "1 MB"),
        (lambda folder: write(folder, "a/b/c/d/e/f/g"), "4 folders"),
    ],
    ids=["entries", "bytes", "depth"],
)
def test_a_broken_limit_is_named_and_the_newest_goes(folder: WorkFolder, make: object, words: str) -> None:
    write(folder, "old.txt")
    before = folder.scan(LIMITS)
    make(folder)  # type: ignore[operator]
    assert words in folder.scan(LIMITS).breach
    folder.bring_within(LIMITS, before)
    after = folder.scan(LIMITS)
    assert not after.breach
    assert "old.txt" in after.files


def test_a_sparse_file_counts_what_it_takes(folder: WorkFolder) -> None:
    with (folder.path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert not folder.scan(LIMITS).breach


def test_very_deep_folders_are_removed(folder: WorkFolder) -> None:
    here = os.open(folder.path, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    folder.remove()
    assert not folder.path.exists()
    folder.remove()


def test_folders_without_rights_are_looked_into_and_removed(folder: WorkFolder) -> None:
    write(folder, "locked/inner/f")
    (folder.path / "locked" / "inner").chmod(0)
    (folder.path / "locked").chmod(0)
    assert "locked/inner/f" in folder.scan(LIMITS).files
    (folder.path / "locked" / "inner").chmod(0)
    (folder.path / "locked").chmod(0)
    folder.remove()
    assert not folder.path.exists()


def test_removing_does_not_follow_links(folder: WorkFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (folder.path / "link").symlink_to(outside)
    write(folder, "d/x")
    (folder.path / "d" / "link").symlink_to(outside)
    folder.remove()
    assert (outside / "precious").exists()


def test_adding_takes_the_place_of_whatever_had_the_name(folder: WorkFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (folder.path / "a").symlink_to(outside)
    os.mkfifo(folder.path / "b")
    write(folder, "c/d")
    for name in "abc":
        folder.add(name, [b"mi", b"ne"])
        file, size = folder.open(name)
        with file:
            assert (file.read(), size) == (b"mine", 4)
    assert outside.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "work"]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "..", "a\0b", "missing", "d"])
def test_what_is_no_file_of_the_folder_is_not_opened(folder: WorkFolder, name: str) -> None:
    write(folder, "d/x")
    with pytest.raises(NoSuchFileError):
        folder.open(name)


@pytest.mark.parametrize(
    "name", ["a/b", "..", "-rf", ".x", "new\nline", "\u202etxt.exe", "x" * 300, " ", "\udc80", 'a"b', "a\u2028b"]
)
def test_a_name_that_is_a_trick_is_not_added(folder: WorkFolder, name: str) -> None:
    with pytest.raises(NoSuchFileError):
        folder.add(name, [b""])


@pytest.mark.parametrize("name", ["a.txt", "Bericht für März (2).csv", "データ.csv", "a/b/c.png", "👩🔬.txt"])
def test_plain_names_in_any_language_are_presentable(name: str) -> None:
    assert is_presentable(name)


def test_contents_move_and_the_folder_takes_the_place(folder: WorkFolder, tmp_path: Path) -> None:
    write(folder, "a/b", b"old")
    fresh = WorkFolder(tmp_path / "fresh")
    fresh.create(None)
    inode = fresh.path.stat().st_ino
    fresh.move_contents_from(folder)
    assert (folder.path.stat().st_ino, (folder.path / "a" / "b").read_bytes()) == (inode, b"old")
    assert not (tmp_path / "fresh").exists()
    assert fresh.path == folder.path
