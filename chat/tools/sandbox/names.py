"""Names of files in a work folder: which of them can be shown, stored and asked for, and how others become such names.

Knows no file. What a name must not be is decided here alone.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_NAME_MAX_BYTES = 200
_NAME_PARTS_MAX = 8
# A longer one is a part of the name that has a dot before it.
_ENDING_MAX_BYTES = 20
# Separators of paths, lines and commands; what some systems do not allow.
_FORBIDDEN = frozenset('\\/\u2028\u2029"<>|:*?')
# At the beginning: hidden files, options of commands, somebody's home.
_LEADING = (".", "-", "~")
_NOT_LEADING = re.compile(r"^[\s.~-]+")
_NAMELESS = "file"


def is_presentable(name: str) -> bool:
    """Whether a name can be shown, stored and asked for: plain text, nothing hidden, nothing that points elsewhere."""
    parts = name.split("/")
    return len(parts) <= _NAME_PARTS_MAX and all(_is_presentable_part(part) for part in parts)


def _is_presentable_part(part: str) -> bool:
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        return False
    is_plain = not any(_is_control(sign) or sign in _FORBIDDEN for sign in part)
    return 0 < size <= _NAME_MAX_BYTES and is_plain and part == part.strip() and not part.startswith(_LEADING)


def _is_control(sign: str) -> bool:
    return unicodedata.category(sign)[0] == "C"


def presentable(name: str) -> str:
    """The nearest presentable name of one part, in composed characters: what people and models type finds it."""
    signs = [sign for sign in unicodedata.normalize("NFC", name) if not _is_control(sign)]
    plain = "".join("_" if sign in _FORBIDDEN else sign for sign in signs)
    stem, ending = _split(_NOT_LEADING.sub("", plain).strip())
    return _joined(stem, "", ending)


def numbered(name: str, number: int) -> str:
    """Another name like this presentable one, for a file beside it: `sales-2.csv` for `sales.csv`."""
    stem, ending = _split(name)
    return _joined(stem, f"-{number}", ending)


def _split(name: str) -> tuple[str, str]:
    """The name, and what it ends in with the dot; a packed archive has two such endings."""
    path = PurePosixPath(name)
    ending = "".join(path.suffixes[-2:]) if path.stem.endswith(".tar") else path.suffix
    if len(ending.encode()) > _ENDING_MAX_BYTES:
        ending = ""
    return name[: len(name) - len(ending)], ending


def _joined(stem: str, number: str, ending: str) -> str:
    """Cut to length where a name is cut least: in the middle of it."""
    room = _NAME_MAX_BYTES - len(f"{number}{ending}".encode())
    stem = stem.encode()[:room].decode(errors="ignore").strip()
    return f"{stem or _NAMELESS}{number}{ending}"
