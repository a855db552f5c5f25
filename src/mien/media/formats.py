"""Which files are pictures or videos: by the suffix of the name, and by the first bytes where that does not say."""

from __future__ import annotations

from pathlib import Path

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
"""Pictures of phones; read with pillow-heif (`pip install 'mien[heif]'`)."""

IMAGE_SUFFIXES = HEIF_SUFFIXES | {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc",
}  # fmt: skip
"""What is taken for a picture by its name; a file named outright is tried whatever it is called."""

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".ogv", ".mts", ".m2ts", ".3gp", ".3g2",
    ".flv", ".vob",
})  # fmt: skip
"""What is taken for a video by its name."""

OTHER_SUFFIXES = frozenset({
    ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".m4a", ".m4b", ".mka", ".mp3", ".wav", ".oga", ".ogg",
})  # fmt: skip
"""What begins like a picture or video and is none: raw files of cameras, and sound."""

HEAD_BYTES = 400
"""How many first bytes tell every format below."""

_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")


def kind_of_file(path: Path) -> str | None:
    """ "picture" or "video" by the first bytes of a regular file; None if it is neither, or cannot be read."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(HEAD_BYTES))
    except OSError:
        return None


def kind_of(head: bytes) -> str | None:
    """ "picture" or "video" by a file's first `HEAD_BYTES` bytes; None if it is neither."""
    if head[4:8] == b"ftyp":
        return _kind_of_brand(head)
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or _is_bmp(head):
        return "picture"
    if head.startswith(_VIDEOS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or _is_transport_stream(head):
        return "video"
    return None


def is_heif(head: bytes) -> bool:
    """Whether a file is in HEIF with HEVC inside, as phones write it (not AVIF)."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head[8:64]


def looks_like(data: bytes) -> str:
    """What a file that is no picture seems to be, by its first bytes, for a message."""
    head = data[:HEAD_BYTES]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for begins, what in _OTHERS:
        if head.startswith(begins):
            return what
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page; the address it came from may have refused the picture"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing; export it as PNG"
    if kind := kind_of(head):
        return (
            f"a {kind}" if kind == "video" else "a picture with a damaged header, or with pixels of a kind mien lacks"
        )
    return f"it begins with {data[:8]!r}"


_OTHERS = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file; run: git lfs pull"),
    (b"%PDF", "a PDF document; export its pages as PNG"),
    (b"%!PS", "a PostScript drawing; export it as PNG"),
    (b"8BPS", "a Photoshop document; export it as PNG"),
    (b"PK\x03\x04", "a zip archive; give it a name that ends in .zip"),
    (b"\x1f\x8b", "a file packed with gzip; unpack it"),
    (b"\xff\x0a", "a JPEG XL picture; convert it to PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture; convert it to PNG"),
    (b"v/1\x01", "an OpenEXR picture; convert it to TIFF"),
    (b"#?RADIANCE", "a Radiance HDR picture; convert it to TIFF"),
    (b"\0\0\1\0", "an icon; convert it to PNG"),
    (b"bplist00", "a property list of macOS"),
    (b"\0\5\x16\7", "the attributes of a file of macOS, and not the file itself"),
)

_PICTURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
)  # fmt: skip
_VIDEOS = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


def _kind_of_brand(head: bytes) -> str | None:
    brand = head[8:12]
    if brand in _SOUND_BRANDS:
        return None
    return "picture" if brand in (*_HEIF_BRANDS, b"avif", b"avis") else "video"


def _is_bmp(head: bytes) -> bool:
    """ "BM" alone begins many a text: the reserved fields and the size of the second header must fit too."""
    return head[:2] == b"BM" and head[6:10] == bytes(4) and head[14:18] in _BMP_HEADERS


_BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes, of 192 on Blu-ray and in camcorders, that begin with 0x47."""
    return any(len(head) > start + step and head[start] == head[start + step] == 0x47 for start, step in _PACKETS)


_PACKETS = ((0, 188), (4, 192))
