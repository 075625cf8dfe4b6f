"""A page from the template and data, filled as the program does it."""

import json
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "harness" / "page"
LIBRARY = ROOT / ".deps" / "vega" / "bundle.js"


def html_text(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def json_of(data):
    """JSON in a script element: a "</script>" in a name must not end it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def page_html(data, *, with_library=True):
    parts = {"title": html_text(data["title"]), "style": (PAGE / "page.css").read_text(), "data": json_of(data),
             "library": LIBRARY.read_text() if with_library else "",
             "script": "".join(path.read_text() for path in sorted((PAGE / "js").glob("*.js")))}
    # One pass over the template alone: what is filled in may hold braces of its own.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], (PAGE / "page.html").read_text())


def write_page(path, data, **options):
    path.write_text(page_html(data, **options), encoding="utf-8")
    return path
