"""Takes the blocks of code out of a page of documentation that sets nothing around them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_CODE = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.AsyncFunctionDef,
         ast.ClassDef, ast.For, ast.AsyncFor, ast.With, ast.Try, ast.If)  # fmt: skip


def parse(source: str) -> ast.Module:
    """Python with `await` outside of functions."""
    return compile(
        source, "<page>", "exec",
        ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )  # fmt: skip


def blocks(page: str) -> tuple[list[str], list[str]]:
    """The blocks of a page, and the lines that are prose."""
    code: list[list[str]] = [[]]
    prose: list[str] = []
    for chunk in _chunks(page.splitlines()):
        if _is_code(chunk):
            code[-1] += chunk
        elif any(line.strip() for line in chunk):
            prose += chunk
            code.append([])
        else:
            code[-1] += chunk
    found = ("\n".join(lines).strip("\n") for lines in code)
    return [block for block in found if _has_statement(block)], prose


def _chunks(lines: list[str]) -> Iterator[list[str]]:
    """Lines that belong together: a statement with what is indented under it, or one line."""
    at = 0
    while at < len(lines):
        end = at + 1
        if lines[at][:1].strip():
            best = at + 1
            for last in range(at + 1, len(lines) + 1):
                goes_on = last < len(lines) and _goes_on(lines[last])
                if _parses(lines[at:last]):
                    best = last
                    if not goes_on:
                        break
                elif last - at > 40:
                    break
            end = best if _parses(lines[at:best]) else at + 1
        yield lines[at:end]
        at = end


def _goes_on(line: str) -> bool:
    return (
        not line.strip()
        or line[0] in " )]}"
        or re.match(r"(except|else|elif|finally)\b", line) is not None
    )


def _parses(lines: list[str]) -> bool:
    try:
        parse("\n".join(lines))
    except SyntaxError:
        return False
    return True


def _is_code(chunk: list[str]) -> bool:
    if not _parses(chunk):
        return False
    body = parse("\n".join(chunk)).body
    if not body:
        return any(line.startswith("#") for line in chunk)
    return all(
        isinstance(each, _CODE)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Call | ast.Await))
        for each in body
    )


def _has_statement(block: str) -> bool:
    return bool(block) and bool(parse(block).body)
