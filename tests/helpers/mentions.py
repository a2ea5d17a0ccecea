"""What texts name: files by their path, modules and what is in them by dotted names."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

FILE = re.compile(r"(?<![\w/.{}<>~:-])(?:[\w*-]+/)*[\w*-]+\.(?:py|smk)\b")
BELOW_A_FOLDER = re.compile(
    r"(?<![\w/.-])(?:lamostvac|rules|workflow_scripts|tests|tools|docs|config|profiles|envs|report)"
    r"/[\w*./-]*[\w*/]"
)
DOTTED = re.compile(r"(?<![\w./-])lamostvac(?:\.\w+)+")
NAME_IN_FILE = re.compile(
    r"`(\w+)(?:\(\))?`\s+(?:of|in)\s+`((?:lamostvac|tests|tools)/[\w/]+\.py)`"
)
TEST_IN_FILE = re.compile(r"(tests/[\w/]+\.py)::(\w+)(\.\.\.)?")
# Files beside the library that begin with its name.
NO_MODULES = ("lamostvac.def", "lamostvac.sif", "lamostvac.yaml", "lamostvac.linux")


def prose(path: Path) -> str:
    """What a file says to people: all of a document, comments and docstrings of code."""
    text = path.read_text()
    if path.suffix in (".md", ".rst"):
        return text
    if path.suffix != ".py":
        return "\n".join(line.split("#", 1)[1] for line in text.splitlines() if "#" in line)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    parts = [token.string for token in tokens if token.type == tokenize.COMMENT]
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented):
            parts.append(ast.get_docstring(node) or "")
    return "\n".join(parts)


def defined(module: Path) -> set[str]:
    """Names that a module defines or imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def is_there(project: Path, name: str) -> bool:
    """Whether `lamostvac.package.module.name`, or the beginning of such a name, exists."""
    place, parts = project, name.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    module = place / "__init__.py"
    if parts and (place / f"{parts[0]}.py").exists():
        module = place / f"{parts.pop(0)}.py"
    return not parts or parts[0] in defined(module)


def missing(project: Path, text: str, folders: list[Path]) -> Iterator[str]:
    """Files and modules that a text names and that do not exist.

    Parameters
    ----------
    folders : what paths of Python files and rules may be seen from; others are seen from the project
    """
    for name in FILE.findall(text):
        if not any(any(folder.glob(name)) for folder in folders):
            yield name
    for name in BELOW_A_FOLDER.findall(text):
        if not any(project.glob(name)):
            yield name
    for name, path in NAME_IN_FILE.findall(text):
        if (project / path).exists() and name not in defined(project / path):
            yield f"{path}::{name}"
    for path, name, more in TEST_IN_FILE.findall(text):
        there = defined(project / path) if (project / path).exists() else set()
        if not any(test == name or (more and test.startswith(name)) for test in there):
            yield f"{path}::{name}"
    for name in DOTTED.findall(text):
        if not name.startswith(NO_MODULES) and not is_there(project, name):
            yield name
