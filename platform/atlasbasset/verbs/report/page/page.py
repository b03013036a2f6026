r"""The whole page: template, style and script, with a policy that lets nothing else run.

What stores say reaches the page in two ways only: as text that the template escapes, and as JSON
in a data block, which no browser runs, with every ``<`` written as ``\u003c``. The policy admits
the two scripts by their hashes, and no connection. plotly compiles functions that draw with WebGL,
so it needs ``unsafe-eval``; its styles need ``unsafe-inline``.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbasset.extras import needed
from atlasbasset.verbs.report.page.sections import sections_of, tiles_of
from atlasbasset.verbs.report.page.text import plain_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.verbs.report.findings.findings import Findings
    from atlasbasset.verbs.report.page.document import Figure

__all__ = ["GENERATOR", "Page", "check_extra", "page_of"]

GENERATOR = "atlasbasset report"
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Page:
    """A page and what is on it."""

    html: str
    n_figures: int
    missing: tuple[str, ...]
    """Parts that are left out, in words."""


def check_extra() -> None:
    """Raise MissingExtraError unless what a report is made with is installed."""
    for module in ("plotly", "umap"):
        if importlib.util.find_spec(module) is None:
            needed(module, extra="report", purpose="A report")


def page_of(found: Findings, *, title: str) -> Page:
    """Return the page.

    Parameters
    ----------
    found
        What it shows.
    title
        Its heading.
    """
    sections = sections_of(found)
    figures = [figure for section in sections for figure in section.figures]
    scripts = [_plotly(), (_HERE / "page.js").read_text()]
    html = _template().render(
        title=plain_text(title),
        generator=GENERATOR,
        version=version("atlasbasset"),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        policy=_policy(scripts),
        style=_safe((_HERE / "page.css").read_text()),
        scripts=[_safe(script) for script in scripts],
        data=_safe(_data(figures)),
        found=found,
        tiles=tiles_of(found),
        sections=sections,
    )
    missing = tuple(part.why for section in sections for part in section.missing)
    return Page(html, len(figures), missing)


def _template() -> Any:
    jinja2 = needed("jinja2", extra="report", purpose="A report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain_text
    return environment.get_template("page.html")


def _plotly() -> str:
    offline = needed("plotly.offline", extra="report", purpose="A report")
    return str(offline.get_plotlyjs()).replace("\r\n", "\n")


def _policy(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _data(figures: Sequence[Figure]) -> str:
    """Return the figures as JSON that cannot end the element around it."""
    values = {figure.name: _of_figure(figure) for figure in figures}
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _of_figure(figure: Figure) -> dict[str, Any]:
    plot = json.loads(figure.plot.to_json())
    return {"data": plot["data"], "layout": plot["layout"], "more": dict(figure.more)}


def _safe(text: str) -> Any:
    """Return text that the template leaves as it is: ours, or escaped before."""
    markupsafe = needed("markupsafe", extra="report", purpose="A report")
    return markupsafe.Markup(text)
