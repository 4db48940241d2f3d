"""The work folder is read and changed from outside without being led astray, whatever is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from chat.tools.sandbox.folder import FolderFullError, NoSuchFileError, WorkFolder, changes
from chat.tools.sandbox.names import is_presentable
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


def test_adding_changes_nothing_that_is_there(folder: WorkFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (folder.path / "a").symlink_to(outside)
    os.mkfifo(folder.path / "b")
    write(folder, "c/d")
    for name in "abc":
        assert folder.add(name, [b"mi", b"ne"], LIMITS) == f"{name}-2"
        file, size = folder.open(f"{name}-2")
        with file:
            assert (file.read(), size) == (b"mine", 4)
    assert folder.add("a", [b"x"], LIMITS) == "a-3"
    assert outside.read_text() == "precious"
    assert (folder.path / "c" / "d").read_bytes() == b"x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "work"]
    assert stat.S_IMODE((folder.path / "a-2").stat().st_mode) == 0o644


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    folder = WorkFolder(tmp_path / "work" / "talk")
    assert folder.add("a.txt", [b"x"], LIMITS) == "a.txt"
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: write(folder, "big", b"x" * (900 << 10)), "0 of 1 MB in the work folder are taken"),
        (lambda folder: write_many(folder, 50), "there are 50 files in the work folder"),
        (lambda folder: write_many(folder, 51), "more than 50 files in the work folder"),
    ],
    ids=["bytes", "entries", "more already"],
)
def test_what_would_break_a_limit_is_not_added(folder: WorkFolder, make: object, words: str) -> None:
    make(folder)  # type: ignore[operator]
    before = sorted(folder.path.parent.rglob("*"))
    with pytest.raises(FolderFullError, match=words):
        folder.add("new", [b"x" * (200 << 10)], LIMITS)
    assert sorted(folder.path.parent.rglob("*")) == before


def test_of_many_that_come_at_once_as_many_are_added_as_there_is_room_for(folder: WorkFolder) -> None:
    barrier = Barrier(8)

    def add(number: int) -> bool:
        def pieces() -> Iterator[bytes]:
            yield b"x" * (300 << 10)
            barrier.wait()

        try:
            folder.add("same.bin", pieces(), LIMITS)
        except FolderFullError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, range(8))) == 3
    assert sorted(path.name for path in folder.path.iterdir()) == ["same-2.bin", "same-3.bin", "same.bin"]


def test_what_is_added_while_a_kernel_moves_in_is_there_afterwards(folder: WorkFolder, tmp_path: Path) -> None:
    for turn in range(30):
        fresh = WorkFolder(tmp_path / "fresh")
        fresh.create(None)
        with ThreadPoolExecutor(2) as threads:
            moved = threads.submit(fresh.move_contents_from, folder)
            added = threads.submit(folder.add, "a.txt", [b"x"], LIMITS)
            moved.result()
            added.result()
        assert len(list(folder.path.iterdir())) == turn + 1


def test_what_was_added_can_be_taken_away_as_long_as_it_is_the_same(folder: WorkFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("xxx")
    folder.add("same", [b"xxx"], LIMITS)
    folder.add("changed", [b"xxx"], LIMITS)
    write(folder, "changed", b"results of a tool")
    write(folder, "d/inner", b"xxx")
    (folder.path / "link").symlink_to(outside)
    for name in ("same", "changed", "d/inner", "d", "link", "../outside", "missing"):
        folder.take_away(name, 3)
    assert sorted(path.name for path in folder.path.iterdir()) == ["changed", "d", "link"]
    assert (folder.path / "d" / "inner").exists()
    assert outside.exists()


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
        folder.add(name, [b""], LIMITS)


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
