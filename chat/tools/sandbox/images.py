"""Checks pictures from foreign code without decoding a pixel, and keeps nothing of them but what makes the picture.

Knows the structure of PNG and JPEG. A file that passes is small, has bounded dimensions, and carries no text,
profile, thumbnail or second file behind its end.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib

from chat.tools.sandbox.values import Image

SIDE_MAX_PX = 10_000
# Decoded, a browser needs four bytes for each.
PIXELS_MAX = 40_000_000

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"pHYs", b"gAMA", b"sRGB"}
_PNG_COLOUR_TYPES = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_JPEG_START_OF_FRAME = {*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
_JPEG_START_OF_SCAN, _JPEG_END = 0xDA, b"\xd9"
# Within the pixels, an FF is followed by 00 or by a restart marker.
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# JFIF's and Adobe's markers say how colours are to be read; other application markers and comments go.
_JPEG_NOTES_KEPT = {0xE0, 0xEE}


class NoImageError(Exception):
    """These bytes are not a picture that can be passed on."""


def from_base64(text: str, *, max_bytes: int) -> Image:
    """The picture in a Jupyter message. Raises NoImageError with the reason."""
    if len(text) > max_bytes * 4 // 3 + 4 + len(text) // 70:
        raise NoImageError(f"larger than {max_bytes:,} bytes")
    try:
        content = base64.b64decode(text.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError) as fault:
        raise NoImageError("not base64") from fault
    if len(content) > max_bytes:
        raise NoImageError(f"larger than {max_bytes:,} bytes")
    return verified(content)


def verified(content: bytes) -> Image:
    """The picture, its harmless parts alone. Raises NoImageError with the reason."""
    if content.startswith(_PNG_START):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    raise NoImageError("neither PNG nor JPEG")


def _png(content: bytes) -> Image:
    kept = [_PNG_START]
    width = height = 0
    at = len(_PNG_START)
    has_pixels = False
    while True:
        size = int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        end = at + 12 + size
        if end > len(content):
            raise NoImageError("a PNG that is cut off")
        if zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise NoImageError("a PNG with a wrong checksum")
        if at == len(_PNG_START):
            if kind != b"IHDR" or size != 13:
                raise NoImageError("a PNG without its header")
            body = content[at + 8 : at + 21]
            width, height = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
            if body[8] not in _PNG_COLOUR_TYPES.get(body[9], ()) or body[10] or body[11] or body[12] > 1:
                raise NoImageError("a PNG of an unknown kind")
        elif kind == b"IHDR":
            raise NoImageError("a PNG with two headers")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind in _PNG_KEPT:
            kept.append(content[at:end])
        at = end
        if kind == b"IEND":
            break
    if not has_pixels:
        raise NoImageError("a PNG without pixels")
    _check_size(width, height)
    return Image(mime="image/png", content=b"".join(kept), width_px=width, height_px=height)


def _jpeg(content: bytes) -> Image:
    kept = [content[:2]]
    width = height = 0
    has_pixels = False
    at = 2
    while (marker := content[at + 1 : at + 2]) != _JPEG_END:
        size = int.from_bytes(content[at + 2 : at + 4], "big")
        end = at + 2 + size
        if content[at : at + 1] != b"\xff" or size < 2 or end > len(content):
            raise NoImageError("a JPEG that is cut off")
        number = marker[0]
        if number in _JPEG_START_OF_FRAME:
            if width or size < 9:
                raise NoImageError("a JPEG with two frames")
            height, width = (int.from_bytes(content[at + 5 + i : at + 7 + i], "big") for i in (0, 2))
        if number == _JPEG_START_OF_SCAN:
            has_pixels = True
            found = _JPEG_NEXT_MARKER.search(content, end)
            if not found:
                raise NoImageError("a JPEG without its end")
            end = found.start()
        is_note = 0xE0 <= number <= 0xEF or number == 0xFE
        if not is_note or number in _JPEG_NOTES_KEPT:
            kept.append(content[at:end])
        at = end
    if not has_pixels:
        raise NoImageError("a JPEG without pixels")
    _check_size(width, height)
    kept.append(content[at : at + 2])
    return Image(mime="image/jpeg", content=b"".join(kept), width_px=width, height_px=height)


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= SIDE_MAX_PX and 0 < height <= SIDE_MAX_PX and width * height <= PIXELS_MAX):
        raise NoImageError(f"a picture of {width:,} × {height:,} pixels")
