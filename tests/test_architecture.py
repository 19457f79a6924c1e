"""The shape of the code: each file one idea, in one sentence; nothing where it does not belong."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
ADDON = TOP / "addon"
PACKAGE = ADDON / "callerid"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 48
EMPTY_WORDS = re.compile(r"util|helper|manager|handler|service|common|misc")


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def first_sentence(file: Path) -> str:
    """The first paragraph of a module's docstring on one line."""
    docstring = ast.get_docstring(tree_of(file)) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_map_says_of_each_file_what_the_file_says_of_itself(file: Path) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", (ADDON / "README.md").read_text(), re.MULTILINE)
    name = str(file.relative_to(PACKAGE)).replace("/__init__.py", "/")

    assert dict(rows)[name] == first_sentence(file)


def test_the_map_names_nothing_that_is_not_there() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", (ADDON / "README.md").read_text(), re.MULTILINE)

    assert [name for name in rows if not (PACKAGE / name).exists()] == []


def test_beside_the_script_lies_nothing_but_the_package_and_the_map() -> None:
    """mitmproxy leaves this folder first on sys.path: anything here would shadow a library."""
    there = {path.name for path in ADDON.iterdir() if path.name != "__pycache__"}

    assert there == {"main.py", "callerid", "README.md"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_is_one_idea_and_a_function_can_be_seen_at_once(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= MOST_LINES
    assert not EMPTY_WORDS.search(file.stem)
    for function in functions(file):
        assert function.end_lineno
        length = function.end_lineno - function.lineno + 1
        assert length <= MOST_LINES_OF_A_FUNCTION, f"{function.name} has {length} lines"


def test_only_the_guard_catches_everything() -> None:
    catching = {
        file.name
        for file in FILES
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    }

    assert catching == set()  # the guard itself does it on leaving a `with` block
