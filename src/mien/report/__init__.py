"""An `Evaluation` for people and machines: terminal, JSON, one self-contained HTML page."""

from mien.report.document import SCHEMA_VERSION, to_json
from mien.report.page import to_html
from mien.report.terminal import course_lines, to_text

__all__ = ["SCHEMA_VERSION", "course_lines", "to_html", "to_json", "to_text"]
