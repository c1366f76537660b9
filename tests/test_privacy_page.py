"""docs/privacy.md names files and tests; all of them must be there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "privacy.md"

_NAMED = re.compile(r"`([a-z_/0-9]+\.py)(?:::(\w+))?`")

RULES = (
    "Software version",
    "Peer id",
    "IP and port in the extension handshake",
    "Listen port",
    "DHT port",
    "Tracker's IP arguments",
    "Protocols that a proxy does not carry",
    "Incoming connections",
    "Local peer discovery",
    "Port forwarding",
)
"""The sections of BEP 37, "Information leaks"."""


def rows() -> list[list[str]]:
    lines = (line for line in PAGE.read_text().splitlines() if line.startswith("| "))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[-1] != "Test"]


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_names_code_and_tests_that_exist(row: list[str]) -> None:
    _, done, where, tests = row
    assert done
    files = _NAMED.findall(where)
    assert files
    assert all((ROOT / file).is_file() and not test for file, test in files), files
    named = _NAMED.findall(tests)
    assert named
    for file, test in named:
        assert test.startswith("test_"), file
        assert test in names_in(file), f"{file} has no {test}"


def test_every_section_of_bep_37_has_its_row() -> None:
    assert [row[0] for row in rows()][: len(RULES)] == list(RULES)
