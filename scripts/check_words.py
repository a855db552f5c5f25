"""Checks the words: short sentences, one a line in the pages' sources, American spelling.

python scripts/check_words.py            # README.md and its like, docs/, the cards and the texts in src/
python scripts/check_words.py docs/why.md
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_WORDS = 25
"""A longer sentence is two."""
GENERATED = {"cli.md"}
"""Made from help texts: their lines are broken as the terminal likes it."""

BRITISH = (
    r"colour\w*|grey\w*|centre[ds]?|centring|licence[ds]?|(?:un)?labell(?:ed|ing)|levell(?:ed|ing)"
    r"|modell(?:ed|ing)|travell(?:ed|ing|er)|cancell(?:ed|ing)|signall(?:ed|ing)|behaviour\w*|favour\w*|neighbour\w*"
    r"|judgement\w*|learnt|spelt|analys(?:e|ed|ing)|catalogue\w*|artefacts?|programmes?|whilst|defence|practis(?:e|ed|ing)"
    r"|fulfil|rigour|honour\w*|metres?|fibres?|dialogues?"
    r"|(?:re|un)?(?:normal|initial|optim|quant|recogn|real|minim|maxim|summar|visual|general|memor|organ|serial|standard"
    r"|special|custom|penal|random|synchron|stabil|util|emphas|categor|character|local|token|vector)is(?:e[ds]?|ers?|ing|ations?|able)"
)
SPELLING = re.compile(rf"(?<![\w-])(?:{BRITISH})(?![\w-])", re.IGNORECASE)
FENCE = re.compile(r"^\s*(```|~~~)")
MARK = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+|^\s*:\s{2,}|^\s*>\s*")
END = re.compile(r"(?<=[.!?])[)\"”'*]*\s+(?=[\"“(*\[]*(?:[A-Z`<0-9]|mien\b))")
ABBREVIATED = re.compile(r"\b(al|e\.g|i\.e|vs|Fig|Eq|Sec|No|cf|approx|Dr|St)\.$")


@dataclass(frozen=True)
class Problem:
    """Something to mend."""

    path: Path
    line: int
    what: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.what}: {self.sentence}"


def prose(text: str) -> Iterator[tuple[int, str, bool]]:
    """Each line of prose without its markup: its number, its words, and whether a new paragraph or item begins."""
    fenced, begins = False, True
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced, begins = not fenced, True
        elif fenced or not line.strip() or re.match(r"^\s*(#|\||:::|!!!|<|\*\*[^*]+\*\*$|\[\^?[^\]]+\]:)", line):
            begins = True
        else:
            yield number, plain(line), begins or bool(MARK.match(line))
            begins = False


def plain(line: str) -> str:
    """The words of a line: links as their text, code as one word, no list mark, no bold lead."""
    line = re.sub(r"`+[^`]+`+", "`x`", MARK.sub("", line))
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    line = re.sub(r"<https?://[^>]*>|https?://\S+", "address", line)
    return re.sub(r"^\*\*[^*]+[.:]\*\*\s*", "", line).strip()


def split_sentences(text: str) -> list[str]:
    """The sentences of a text."""
    parts: list[str] = []
    for part in END.split(text):
        if parts and ABBREVIATED.search(parts[-1]):
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return [part for part in parts if part]


def word_count(sentence: str) -> int:
    """How many words, numbers and pieces of code."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def check_page(path: Path) -> Iterator[Problem]:
    """Sentences that are too long, share a line with another, or go on in the next; and British spelling."""
    text = path.read_text(encoding="utf-8")
    one_a_line = path.is_relative_to(ROOT / "docs") and path.name not in GENERATED
    paragraphs: list[list[tuple[int, str]]] = []
    for number, line, begins in prose(text):
        if begins or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append((number, line))
    for paragraph in paragraphs:
        for number, line in paragraph[:-1] if one_a_line else []:
            if not re.search(r"[.!?:]\W*$", line):
                yield Problem(path, number, "the sentence goes on in the next line", line)
        for number, line in paragraph if one_a_line else []:
            if len(split_sentences(line)) > 1:
                yield Problem(path, number, "more than one sentence in a line", line)
        for sentence in split_sentences(" ".join(line for _, line in paragraph)):
            if word_count(sentence) > MOST_WORDS:
                yield Problem(path, paragraph[0][0], f"{word_count(sentence)} words", sentence)
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        fenced ^= bool(FENCE.match(line))
        words = re.sub(r"`[^`]+`|\]\([^)]*\)|https?://\S+", " ", line)
        for found in [] if fenced else SPELLING.finditer(words):
            yield Problem(path, number, f"British spelling '{found[0]}'", line.strip())


def check_source(path: Path) -> Iterator[Problem]:
    """British spelling in comments and texts of a module. A text of one word may be a name that others rely on."""
    if not SPELLING.search(path.read_text(encoding="utf-8")):  # taking a module apart takes longer
        return
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            named = token.type == tokenize.STRING and re.fullmatch(r"\w*['\"][\w-]+['\"]", token.string)
            if token.type not in TEXTS or named:
                continue
            for found in SPELLING.finditer(re.sub(r"`[^`\n]+`", "`x`", token.string)):
                line = token.start[0] + token.string[: found.start()].count("\n")
                yield Problem(path, line, f"British spelling '{found[0]}'", token.string.strip()[:120])


TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.COMMENT)}


def pages() -> list[Path]:
    """The pages whose words are checked."""
    names = (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "examples/si100b/README.md",
    )
    folders = ("docs", "src/mien/weights")
    return [*(ROOT / name for name in names), *(p for f in folders for p in sorted((ROOT / f).rglob("*.md")))]


def sources() -> list[Path]:
    """The modules whose texts are checked."""
    return sorted((ROOT / "src").rglob("*.py"))


def check(path: Path) -> list[Problem]:
    """What is to mend in a page or a module."""
    return list(check_page(path) if path.suffix == ".md" else check_source(path))


def main() -> int:
    """Print every problem; 1 when there is one."""
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or [*pages(), *sources()]
    problems = [problem for path in chosen for problem in check(path)]
    print(*problems, f"{len(problems)} to mend in {len(chosen)} files", sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
