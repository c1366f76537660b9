"""Runs tests on the program with one line of it changed: ``python -m tests.mutant`` with JSON.

The files stay as they are: only the import of the changed module is different in this process.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).parents[1]
NOT_FOUND = 90
"""Exit code: the line that should be changed is not there, or more than once."""


class Changed(SourceFileLoader):
    """Loads a module from a changed text."""

    text: str

    def get_code(self, fullname: str) -> CodeType | None:
        del fullname
        code: CodeType = compile(self.text, self.path, "exec", dont_inherit=True)
        return code


class Finder(MetaPathFinder):
    """Finds one module, changed, before anything else does."""

    def __init__(self, file: str, text: str) -> None:
        self._path = str(ROOT / file)
        self._name = file.removesuffix(".py").replace("/", ".")
        self._text = text

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self._name:
            return None
        loader = Changed(fullname, self._path)
        loader.text = self._text
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


def main(file: str, old: str, new: str, test: str) -> int:
    """Returns pytest's exit code; 1 is what is hoped for."""
    source = (ROOT / file).read_text()
    if source.count(old) != 1:
        return NOT_FOUND
    sys.meta_path.insert(0, Finder(file, source.replace(old, new)))
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "--tb=line", str(ROOT / test)]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main(*json.loads(sys.argv[1])))
