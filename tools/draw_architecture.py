"""Draw the rooms of the three packages on their floors, from the imports alone: `make picture`.

A room is a folder of a package, or a module that is directly in it; of `verbs` each verb is one.
Its floor is the length of the longest chain of imports below it in its own package, so an arrow
always goes down. Every import counts, also lazy and typing-only ones. Arrows that follow from
others (a -> c where a -> b -> c) are left out of the picture; `architecture.txt` has all.
"""

from __future__ import annotations

import ast
import hashlib
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import grimp
import matplotlib as mpl
import networkx as nx
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"
FOLDERS = {"atlasjobs": "jobs", "atlasbasset": "platform", "atlasstore": "storage"}
COLORS = {"atlasjobs": "#b35900", "atlasbasset": "#1f5fa8", "atlasstore": "#2f7d3b"}
SPLIT = ("atlasbasset.verbs",)
"""Folders whose entries are rooms of their own."""
WIDTH, HEIGHT, GAP_X, GAP_Y = 2.0, 0.8, 0.3, 0.5
"""Of a room and between rooms, inches."""

Place = tuple[float, float]


def room_of(module: str) -> str:
    """Return the room of a module: its first two names, three below a split folder."""
    names = module.split(".")
    depth = 3 if ".".join(names[:2]) in SPLIT else 2
    return ".".join(names[:depth])


def read_rooms() -> nx.DiGraph[str]:
    """Return the graph of rooms, an edge for each pair with at least one import."""
    imports = grimp.build_graph(*FOLDERS)
    rooms: nx.DiGraph[str] = nx.DiGraph()
    for module in sorted(imports.modules):
        for imported in sorted(imports.find_modules_directly_imported_by(module)):
            if room_of(module) != room_of(imported):
                rooms.add_edge(room_of(module), room_of(imported))
    return rooms


def edge_list(rooms: nx.DiGraph[str]) -> str:
    """Return the edges as text, one a line, sorted."""
    return "".join(f"{a} -> {b}\n" for a, b in sorted(rooms.edges))


def digest_of(edges: str) -> str:
    """Return what the picture carries so that it can be told whether it shows `edges`."""
    return f"sha256 of architecture.txt: {hashlib.sha256(edges.encode()).hexdigest()}"


def floors_of(rooms: nx.DiGraph[str]) -> list[list[str]]:
    """Return the rooms of one package by floor, lowest first; a circle shares a floor."""
    groups = nx.condensation(rooms)
    floor: dict[int, int] = {}
    for group in reversed(list(nx.topological_sort(groups))):
        floor[group] = 1 + max((floor[below] for below in groups.successors(group)), default=-1)
    floors: list[list[str]] = [[] for _ in range(1 + max(floor.values()))]
    for room, group in groups.graph["mapping"].items():
        floors[floor[group]].append(room)
    return [sorted(names) for names in floors]


def ordered(floors: list[list[str]], arrows: nx.DiGraph[str]) -> list[list[str]]:
    """Return the floors with every room near the mean place of its neighbours, so few cross."""
    place = {r: i - len(names) / 2 for names in floors for i, r in enumerate(names)}
    for _ in range(24):
        for names in floors:
            near = {
                r: sorted(place[n] for n in (*arrows.successors(r), *arrows.predecessors(r)))
                for r in names
            }
            mean = {r: sum(at) / len(at) if at else place[r] for r, at in near.items()}
            names.sort(key=lambda room: (mean[room], room))
            place.update({r: i - len(names) / 2 for i, r in enumerate(names)})
    return floors


def summary_of(room: str) -> str:
    """Return the first sentence of a room's docstring, up to its colon."""
    package, *names = room.split(".")
    at = ROOT.joinpath(FOLDERS[package], package, *names)
    file = at / "__init__.py" if at.is_dir() else at.with_suffix(".py")
    doc = ast.get_docstring(ast.parse(file.read_text())) or ""
    return doc.splitlines()[0].rstrip(".").replace("`", "") if names else "public names"


def draw_room(ax: Axes, room: str, at: Place, color: str) -> None:
    """Draw one room: its name and what it is for."""
    x, y = at
    box = FancyBboxPatch(
        (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.08", facecolor="white", edgecolor=color, zorder=3,
    )  # fmt: skip
    ax.add_patch(box)
    name = room.split(".", 1)[1] if "." in room else room
    ax.text(x, y + 0.25, name, ha="center", va="center", weight="bold", size=10, zorder=4)
    lines = textwrap.wrap(summary_of(room), 32, max_lines=3, placeholder=" ...")
    ax.text(x, y - 0.12, "\n".join(lines), ha="center", va="center", size=7.5, zorder=4)


def draw_arrow(ax: Axes, start: Place, end: Place, color: str) -> None:
    """Draw an arrow from the bottom of one room to the top of another."""
    tail, head = (start[0], start[1] - HEIGHT / 2), (end[0], end[1] + HEIGHT / 2)
    arrow = FancyArrowPatch(
        tail, head, arrowstyle="-|>", mutation_scale=7, color=color, alpha=0.55, lw=0.9, zorder=2
    )
    ax.add_patch(arrow)


def draw_step(ax: Axes, y: float) -> None:
    """Draw the arrow from a package to the one below it, which ends `GAP_Y` under `y`."""
    arrow = FancyArrowPatch(
        (0, y + 0.05),
        (0, y - GAP_Y - 0.05),
        arrowstyle="simple",
        mutation_scale=22,
        color="#777777",
    )
    ax.add_patch(arrow)
    ax.text(0.25, y - GAP_Y / 2, "imports", va="center", size=9, color="#555555")


def draw_package(ax: Axes, package: str, rooms: nx.DiGraph[str], bottom: float) -> float:
    """Draw one package above `bottom`; return where it ends."""
    own = rooms.subgraph(room for room in rooms if room.split(".")[0] == package)
    arrows = nx.transitive_reduction(own) if nx.is_directed_acyclic_graph(own) else own
    floors = ordered(floors_of(own), arrows)
    places: dict[str, Place] = {}
    for level, names in enumerate(floors):
        y = bottom + 0.6 + level * (HEIGHT + GAP_Y)
        for index, room in enumerate(names):
            places[room] = ((index - (len(names) - 1) / 2) * (WIDTH + GAP_X), y)
            draw_room(ax, room, places[room], COLORS[package])
    for a, b in sorted(arrows.edges):
        draw_arrow(ax, places[a], places[b], COLORS[package])
    top = bottom + 0.6 + len(floors) * (HEIGHT + GAP_Y) - GAP_Y
    half = max(len(names) for names in floors) * (WIDTH + GAP_X) / 2 + 0.2
    ax.add_patch(
        Rectangle((-half, bottom), 2 * half, top - bottom, color=COLORS[package], alpha=0.07, lw=0)
    )
    ax.text(-half + 0.1, top - 0.22, f"{FOLDERS[package]}/{package}", weight="bold", size=12,
            color=COLORS[package], va="center")  # fmt: skip
    return top


def draw(rooms: nx.DiGraph[str], file: Path) -> None:
    """Draw the three packages, storage at the bottom, into an SVG or PNG file."""
    mpl.rcParams.update({"svg.hashsalt": "architecture", "svg.fonttype": "none"})
    figure, ax = plt.subplots()
    bottom = 0.0
    for package in reversed(FOLDERS):
        if bottom:
            draw_step(ax, bottom)
        bottom = draw_package(ax, package, rooms, bottom) + GAP_Y
    ax.autoscale_view()
    ax.set_position((0, 0, 1, 1))
    ax.axis("off")
    figure.set_size_inches(float(np.ptp(ax.get_xlim())), float(np.ptp(ax.get_ylim())))
    about = {"Date": None, "Description": digest_of(edge_list(rooms))}
    figure.savefig(file, bbox_inches="tight", metadata=about if file.suffix == ".svg" else None)
    plt.close(figure)


def main() -> None:
    """Write the edge list and the picture."""
    rooms = read_rooms()
    (FIGURES / "architecture.txt").write_text(edge_list(rooms))
    draw(rooms, FIGURES / "architecture.svg")


if __name__ == "__main__":
    main()
