"""What was measured, for people and machines: text, JSON, one self-contained HTML page."""

from mien.report.audit_page import to_html as audit_to_html
from mien.report.audit_text import to_json as audit_to_json
from mien.report.audit_text import to_text as audit_to_text
from mien.report.comparison_page import to_html as comparison_to_html
from mien.report.comparison_text import to_json as comparison_to_json
from mien.report.comparison_text import to_text as comparison_to_text
from mien.report.evaluation_json import SCHEMA_VERSION, to_json
from mien.report.evaluation_page import to_html
from mien.report.evaluation_text import course_lines, course_text, to_text
from mien.report.study_page import to_html as study_to_html
from mien.report.study_text import to_json as study_to_json

__all__ = [
    "SCHEMA_VERSION",
    "audit_to_html",
    "audit_to_json",
    "audit_to_text",
    "comparison_to_html",
    "comparison_to_json",
    "comparison_to_text",
    "course_lines",
    "course_text",
    "study_to_html",
    "study_to_json",
    "to_html",
    "to_json",
    "to_text",
]
