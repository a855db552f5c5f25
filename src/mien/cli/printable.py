"""Text from strangers' files on a terminal: what could move the cursor, clear the screen or forge a line is escaped."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with every character that does not print as itself escaped: "\\x1b" for an escape, "\\n" for a newline."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
