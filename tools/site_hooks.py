"""What mkdocs does beyond docs/: README, CHANGELOG and CONTRIBUTING are pages, tables are files.

Links between them are written as they work in the repository; here they are turned to the site's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
"""Page of the site -> file of the repository."""
COPIED = ("benchmarks/results/*.csv", "benchmarks/*.py", "cluster-configs/README.md")
"""What pages link to and the site has as it is."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files that are not in docs/."""
    for page, name in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    for pattern in COPIED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if not name.endswith(".md"):
                files.append(File.generated(config, name, content=path.read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links that leave docs/, or enter it, to the site's own pages."""
    is_outside = page.file.src_uri in PAGES
    return re.sub(
        r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)",
        lambda found: _on_site(*found.groups(default=""), is_outside=is_outside),
        markdown,
    )


def _on_site(text: str, link: str, anchor: str, *, is_outside: bool) -> str:
    """Return a link of a page at the site's root; the text alone where there is no such page."""
    target = link if is_outside else link.removeprefix("../")
    if is_outside or target != link:
        pages = {name: page for page, name in PAGES.items()}
        link = pages.get(target, target.removeprefix("docs/"))
        if link == target and not target.startswith("benchmarks/results/"):
            return text
    return f"[{text}]({link}{anchor})"
