"""README and docs: links lead somewhere, commands would be accepted, nothing is left to fill in."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import typer.main

import atlasbasset
import atlasbasset.metrics
import atlasstore
from atlasbasset import pl
from atlasjobs.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = [
    path
    for folder in ("storage", "platform", "jobs", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def commands(text: str) -> list[list[str]]:
    """Argument lists of lines in code blocks that begin with the program's name."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    called = [re.match(r"(?:\.venv/bin/)?atlasbasset (.*)", line.strip()) for line in lines]
    return [shlex.split(found[1], comments=True) for found in called if found]


def accept(arguments: list[str]) -> None:
    """Parse as the program would, without running."""
    command = typer.main.get_group(app)
    if arguments[0].startswith("-") or "--help" in arguments or "VERB" in arguments:
        return
    parent = command.make_context("atlasbasset", list(arguments))
    verb = command.get_command(parent, arguments[0])
    assert verb is not None, f"no verb {arguments[0]}"
    verb.make_context(arguments[0], arguments[1:], parent=parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_would_be_accepted(page):
    for arguments in commands(page.read_text()):
        accept(arguments)


def test_commands_are_found_and_a_wrong_one_is_refused():
    assert len(commands((ROOT / "README.md").read_text())) >= 4
    with pytest.raises(Exception, match="--no-such"):
        accept(["train", "a", "--out", "b", "--no-such", "1"])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    assert not re.search(r"\b[A-Z]+_(TABLE|ROWS|FIGURE)\b|\bTODO\b|\bTBD\b", page.read_text())


def test_nothing_is_installed_by_a_name_that_no_index_has():
    """What pages and messages tell to run must work: atlasbasset is on no package index."""
    sources = [
        path for room in ("storage", "platform", "jobs") for path in (ROOT / room).rglob("*.py")
    ]
    by_name = re.compile(r"pip install[^\n`]*[ '\"]atlasbasset(?!-)")
    assert by_name.search("pip install --upgrade 'atlasbasset[s3]'")
    assert [path for path in [*PAGES, *sources] if by_name.search(path.read_text())] == []


def test_the_readme_says_what_each_extra_is_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = re.findall(r"^\| (`[^|]*) \| [^|]+ \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert set(project["optional-dependencies"]) - {"dev"} <= named


def test_the_page_on_python_has_every_picture():
    text = (ROOT / "docs" / "python.md").read_text()
    assert [name for name in pl.__all__ if f"`pl.{name}(" not in text] == []


REFERENCE = sorted(
    name
    for page in (ROOT / "docs" / "api").glob("*.md")
    for name in re.findall(r"^::: (\S+)", page.read_text(), flags=re.MULTILINE)
)


def written(module) -> set[str]:
    """Names that a module's source defines or imports: the site reads sources and runs nothing."""
    nodes = list(ast.walk(ast.parse(Path(module.__file__).read_text())))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    defined = [n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    return {alias.asname or alias.name for node in imports for alias in node.names} | set(defined)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_finds_what_it_names(name):
    module, _, last = name.rpartition(".")
    assert last in written(import_module(module))


def headings(page: Path) -> set[str]:
    return set(re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE))


def prose(source: str) -> str:
    """Docstrings and comments on one line, as they are read."""
    return re.sub(r"\s*\n\s*(?:# )?", " ", source)


def citations(source: str) -> list[tuple[str, str | None]]:
    """Pages that a module names, with the section where one is given."""
    found = re.findall(r'(docs/[\w./-]+\.md)(?:, "([^"]+)")?', prose(source))
    return [(page, section or None) for page, section in found]


def broken(source: str) -> list[tuple[str, str | None]]:
    """Citations of a page or section that is not there."""
    return [
        (page, section)
        for page, section in citations(source)
        if not (ROOT / page).exists()
        or (section is not None and section not in headings(ROOT / page))
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cited_sections_exist(path):
    source = path.read_text()
    assert not broken(source)
    assert not re.search(r'[(;] ?[Mm]ethod[,:] "', prose(source)), "cite docs/method.md"


def test_citations_are_found_and_a_wrong_one_is_not_accepted():
    assert len([c for path in SOURCES for c in citations(path.read_text())]) >= 20
    wrapped = '"""Of h . W (docs/method.md,\n    "Denoising")."""'
    assert citations(wrapped) == [("docs/method.md", "Denoising")]
    assert not broken(wrapped)
    assert broken('(docs/method.md, "No such section")')
    assert broken("see docs/no-such-page.md")


def test_messages_in_troubleshooting_are_what_the_program_says():
    """Words in quotes at a paragraph's begin stand in the source, across its line breaks."""
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    quoted = re.findall(r'^\*\*"([^"]+)"\*\*', page, flags=re.MULTILINE)
    assert len(quoted) > 10
    said = re.sub(r'"\s+f?"', "", "\n".join(path.read_text() for path in SOURCES))
    assert [words for words in quoted if words not in said] == []


def test_every_page_is_on_the_site():
    listed = (ROOT / "mkdocs.yml").read_text()
    folder = ROOT / "docs"
    pages = [path for kind in ("*.md", "*/*.md", "*/*.py") for path in sorted(folder.glob(kind))]
    names = [path.relative_to(folder).as_posix() for path in pages]
    assert [name for name in names if name not in listed] == []


PUBLIC = [
    f"{module.__name__}.{name}"
    for module in (atlasbasset, atlasbasset.metrics, atlasstore)
    for name in module.__all__
    if not inspect.ismodule(getattr(module, name))
]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_reference_has_every_public_name(name):
    assert name in REFERENCE


def calls(page: Path) -> list[tuple[str, int, list[str]]]:
    """Dotted name, positional arguments and keywords of what a page's Python calls of ours."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    tree = ast.Module([node for block in blocks for node in ast.parse(block).body], [])
    ours = {"atlasbasset": "atlasbasset", "atlasstore": "atlasstore"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ours:
            ours |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            keywords = [k.arg for k in node.keywords if k.arg]
            if first in ours and len(keywords) == len(node.keywords):  # not f(**options)
                name = ".".join(filter(None, [ours[first], rest]))
                found.append((name, len(node.args), keywords))
    return found


def resolved(name: str) -> object:
    """Return what a dotted name stands for, importing what is a module."""
    first, *rest = name.split(".")
    found: object = import_module(first)
    for i, part in enumerate(rest, 1):
        if not hasattr(found, part):
            import_module(".".join([first, *rest[:i]]))
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_a_page_calls_what_there_is(page):
    for name, n_given, keywords in calls(page):
        inspect.signature(resolved(name)).bind(*[None] * n_given, **dict.fromkeys(keywords))


def test_a_wrong_argument_is_not_accepted(tmp_path):
    page = tmp_path / "page.md"
    page.write_text('```python\nimport atlasbasset\natlasbasset.embed("m", oout="c")\n```\n')
    ((name, n_given, keywords),) = calls(page)
    assert (name, n_given, keywords) == ("atlasbasset.embed", 1, ["oout"])
    with pytest.raises(TypeError, match="oout"):
        inspect.signature(resolved(name)).bind(*[None] * n_given, **dict.fromkeys(keywords))
