"""A conversation's work folder, seen from outside: what is in it, opening, adding and removing, all without being led
astray.

Knows that everything inside may be a trap: links, pipes, devices, names, depth, folders without rights, and that it
may change at any moment. Nothing is reached by a path of more than one part; links are never followed. All of this
blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from chat.tools.sandbox.names import is_presentable, numbered
from chat.tools.sandbox.values import Limits, WorkFile

_BLOCK_BYTES = 512
# Deeper folders break a limit and are on their way out.
_DEPTH_MAX = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: opening a named pipe would wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class NoSuchFileError(Exception):
    """There is no regular file of this name in the work folder."""


class FolderFullError(Exception):
    """The work folder has no room for one more file. `words`: which limit stands against it."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True)
class Stamp:
    """By what a changed file is known."""

    size_bytes: int
    inode: int
    modified_ns: int
    changed_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What a work folder held at one moment."""

    # Regular files with one link and a presentable name.
    files: dict[str, Stamp]
    # Other files, links, pipes, unpresentable names.
    skipped: int
    disk_bytes: int
    entries: int
    # Which limit it breaks, in words; empty when none. The scan ends there.
    breach: str = ""


class WorkFolder:
    """One work folder. `path` is for whoever starts processes; read through the methods."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, user_id: int | None) -> None:
        """Make it if it is not there, and give all of it to the user who will work in it. Nobody may be at work in
        it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user_id is not None:
            self._give_to(user_id)

    def scan(self, limits: Limits) -> Scan:
        """What is in it. At most as many entries as there may be are looked at."""
        walk = _Walk(limits)
        try:
            with _opened(str(self.path), None) as root:
                walk.look(root, "", 0)
        except _BreachError as breach:
            walk.breach = str(breach)
        except FileNotFoundError:
            pass
        return walk.found()

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """A regular file for reading, and its size in bytes. Raises NoSuchFileError for whatever is not one."""
        parts = name.split("/")
        if not is_presentable(name):
            raise NoSuchFileError(name)
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(_opened(str(self.path), None))
                for part in parts[:-1]:
                    folder = stack.enter_context(_opened(part, folder))
                file = os.open(parts[-1], _FILE, dir_fd=folder)
            except OSError as fault:
                raise NoSuchFileError(name) from fault
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                os.close(file)
                raise NoSuchFileError(name)
            return os.fdopen(file, "rb"), found.st_size

    def add(self, name: str, pieces: Iterable[bytes], limits: Limits) -> str:
        """Write a file at the top of the folder, which is made if it is not there. Returns the name that it got: with
        a number when the folder has that name already, so that nothing there changes.

        Raises NoSuchFileError for a bad name, FolderFullError when it would break a limit.
        """
        if "/" in name or not is_presentable(name):
            raise NoSuchFileError(name)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Outside, where no tool can come between.
        draft = self.path.with_name(f".draft-{secrets.token_hex(8)}")
        try:
            with draft.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
            draft.chmod(0o644)
            with _alone(self.path.parent):
                self.create(None)
                self._check_room(draft.stat().st_size, limits)
                return self._place(draft, name)
        finally:
            draft.unlink(missing_ok=True)

    def _check_room(self, size_bytes: int, limits: Limits) -> None:
        found = self.scan(limits)
        if found.breach:
            raise FolderFullError(found.breach)
        if found.disk_bytes + size_bytes > limits.folder_max_bytes:
            raise FolderFullError(
                f"{found.disk_bytes >> 20:,} of {limits.folder_max_bytes >> 20:,} MB in the work folder are taken"
            )
        if found.entries >= limits.folder_entries_max:
            raise FolderFullError(f"there are {found.entries:,} files in the work folder, the most that it may hold")

    def _place(self, draft: Path, name: str) -> str:
        with _opened(str(self.path), None) as root:
            owner = os.fstat(root)
            if owner.st_uid != os.getuid():
                os.chown(draft, owner.st_uid, owner.st_gid)
            for number in itertools.count(1):
                given = name if number == 1 else numbered(name, number)
                with contextlib.suppress(FileExistsError):
                    # Never over anything, whatever a tool makes at this moment.
                    os.link(draft, given, dst_dir_fd=root)
                    return given
        raise AssertionError("numbers do not end")

    def take_away(self, name: str, size_bytes: int) -> None:
        """Remove a file from the top of the folder, unless a tool has made something else of it."""
        with contextlib.suppress(NoSuchFileError, FileNotFoundError):
            file, size = self.open(name)
            file.close()
            if size == size_bytes and "/" not in name:
                with _opened(str(self.path), None) as root:
                    os.unlink(name, dir_fd=root)

    def move_contents_from(self, other: WorkFolder) -> None:
        """Take over everything that another folder on the same disk holds, and take its place. Nobody may be at work
        in it.
        """
        with _alone(other.path.parent):
            with contextlib.suppress(FileNotFoundError), _opened(str(other.path), None) as source:
                with _opened(str(self.path), None) as target:
                    for name in os.listdir(source):
                        _rename(name, source, target)
                other.path.rmdir()
            self.path.rename(other.path)
        self.path = other.path

    def bring_within(self, limits: Limits, before: Scan) -> None:
        """Remove what is newest until it is within its limits again. Nobody may be at work in it."""
        if not self.scan(limits).breach:
            return
        known = {name.split("/")[0] for name in before.files}
        with _opened(str(self.path), None) as root:
            entries = [(entry.name, entry.stat(follow_symlinks=False).st_ctime_ns) for entry in os.scandir(root)]
            entries.sort(key=lambda entry: (entry[0] not in known, entry[1]))
            count = 1
            while entries and self.scan(limits).breach:
                # Doubling: with a hundred thousand files, a look after each would take hours.
                for name, _ in entries[-count:]:
                    _remove(name, root)
                del entries[-count:]
                count *= 2

    def remove(self) -> None:
        """Remove it and all that it holds. Nobody may be at work in it."""
        with contextlib.suppress(FileNotFoundError):
            _remove_folder(str(self.path), None)

    def _give_to(self, user_id: int) -> None:
        with _opened(str(self.path), None) as root:
            if os.fstat(root).st_uid != user_id:
                _give(root, user_id, 0)


def changes(before: Scan, after: Scan) -> tuple[WorkFile, ...]:
    """The files that are new or not what they were, newest last."""
    changed = [(stamp, name) for name, stamp in after.files.items() if before.files.get(name) != stamp]
    changed.sort(key=lambda item: (item[0].modified_ns, item[1]))
    return tuple(
        WorkFile(name=name, size_bytes=stamp.size_bytes, is_new=name not in before.files) for stamp, name in changed
    )


class _BreachError(Exception):
    """The folder breaks a limit."""


class _Walk:
    """Looks through a folder that may change meanwhile."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._files: dict[str, Stamp] = {}
        self._skipped = self._bytes = self._entries = 0
        self.breach = ""

    def look(self, folder: int, prefix: str, depth: int) -> None:
        limits = self._limits
        if depth > limits.folder_depth_max:
            raise _BreachError(f"more than {limits.folder_depth_max} folders within each other")
        with os.scandir(folder) as entries:
            for entry in entries:
                self._entries += 1
                if self._entries > limits.folder_entries_max:
                    raise _BreachError(f"more than {limits.folder_entries_max:,} files in the work folder")
                try:
                    found = entry.stat(follow_symlinks=False)
                    self._bytes += found.st_blocks * _BLOCK_BYTES
                    if self._bytes > limits.folder_max_bytes:
                        raise _BreachError(f"more than {limits.folder_max_bytes >> 20:,} MB in the work folder")
                    name = prefix + entry.name
                    if stat.S_ISDIR(found.st_mode):
                        with _opened(entry.name, folder) as inner:
                            self.look(inner, f"{name}/", depth + 1)
                    elif stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and is_presentable(name):
                        self._files[name] = Stamp(found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
                    else:
                        self._skipped += 1
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError:
                    self._skipped += 1

    def found(self) -> Scan:
        return Scan(
            files=self._files,
            skipped=self._skipped,
            disk_bytes=self._bytes,
            entries=self._entries,
            breach=self.breach,
        )


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One at a time, of all processes, adds a file to a folder of this root or puts one in the place of another."""
    lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _opened(name: str, folder: int | None) -> Iterator[int]:
    """A folder, and never what a link points to. One whose owner took the rights away gets them back."""
    try:
        opened = os.open(name, _FOLDER, dir_fd=folder)
        is_locked = os.fstat(opened).st_mode & stat.S_IRWXU != stat.S_IRWXU and os.getuid() != 0
    except PermissionError:
        is_locked = True
        opened = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if is_locked:
            link = f"/proc/self/fd/{opened}"
            os.chmod(link, 0o700)
            unlocked = os.open(link, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.close(opened)
            opened = unlocked
        yield opened
    finally:
        os.close(opened)


def _give(folder: int, user_id: int, depth: int) -> None:
    os.fchown(folder, user_id, user_id)
    for name in os.listdir(folder):
        os.chown(name, user_id, user_id, dir_fd=folder, follow_symlinks=False)
        if depth < _DEPTH_MAX and stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            with _opened(name, folder) as inner:
                _give(inner, user_id, depth + 1)


def _rename(name: str, source: int, target: int, new_name: str | None = None) -> None:
    try:
        os.rename(name, new_name or name, src_dir_fd=source, dst_dir_fd=target)
    except PermissionError:
        with _opened(name, source):
            pass
        os.rename(name, new_name or name, src_dir_fd=source, dst_dir_fd=target)


def _remove(name: str, folder: int) -> None:
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        _remove_folder(name, folder)
    else:
        os.unlink(name, dir_fd=folder)


def _remove_folder(name: str, parent: int | None) -> None:
    """However deep: folders within are moved up to the top before they are emptied, so that neither stack nor path
    grows.
    """
    with _opened(name, parent) as top:
        while inner := os.listdir(top):
            for each in inner:
                if not stat.S_ISDIR(os.stat(each, dir_fd=top, follow_symlinks=False).st_mode):
                    os.unlink(each, dir_fd=top)
                    continue
                with _opened(each, top) as folder:
                    for innermost in os.listdir(folder):
                        if stat.S_ISDIR(os.stat(innermost, dir_fd=folder, follow_symlinks=False).st_mode):
                            _rename(innermost, folder, top, f"{secrets.token_hex(8)}")
                        else:
                            os.unlink(innermost, dir_fd=folder)
                os.rmdir(each, dir_fd=top)
    os.rmdir(name, dir_fd=parent)
