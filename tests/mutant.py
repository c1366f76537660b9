"""Runs tests on the program with one line of it changed: ``python -m tests.mutant`` with JSON.

The files stay as they are: only the import of the changed module is different in this process, and
in those that its tests start with ``python_process.run_python``.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest

ROOT = Path(__file__).parents[1]
CHANGE = "TORRENT_ONION_CHANGE"
"""The variable that tells other processes of the change."""
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


def change(file: str, old: str, new: str) -> bool:
    """Import a file changed from now on; False if what should be changed is not there once."""
    source = (ROOT / file).read_text()
    if source.count(old) != 1:
        return False
    sys.meta_path.insert(0, Finder(file, source.replace(old, new)))
    return True


def change_again() -> None:
    """In a process that a test has started: import the same file changed."""
    change(*json.loads(os.environ[CHANGE]))


def main(file: str, old: str, new: str, test: str) -> int:
    """Returns pytest's exit code; 1 is what is hoped for."""
    if not change(file, old, new):
        return NOT_FOUND
    os.environ[CHANGE] = json.dumps([file, old, new])
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_trio.plugin", "-p", "pytest_timeout"]
    arguments = ["-q", "-x", "--tb=line", *plugins, str(ROOT / test)]
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main(*json.loads(sys.argv[1])))
