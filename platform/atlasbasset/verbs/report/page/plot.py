"""What every plot has in common. Colours of text, axes and ground are the page's: see page.js."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.extras import needed

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["axis", "graph_objects", "new_plot"]


def graph_objects() -> Any:
    """Return plotly's module of figures."""
    return needed("plotly.graph_objects", extra="report", purpose="A report")


def new_plot(traces: Sequence[Any], **layout: Any) -> Any:
    """Return a figure in the page's manner.

    Parameters
    ----------
    traces
        Of plotly.
    layout
        Of plotly, where it differs.
    """
    common = {
        "template": {},
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        "hoverlabel": {"namelength": -1},
    }
    return graph_objects().Figure(data=list(traces), layout={**common, **layout})


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title that keeps clear of its numbers."""
    return {"title": {"text": title}, "automargin": True, **more}
