"""What lets a test fail: `some` for what it loops over, and a reader of test files that finds those that cannot."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

# Calls that find nothing where a pattern is out of date; a loop over them checks nothing then.
SEARCHES = frozenset({"glob", "rglob", "iterdir", "findall", "finditer"})
# The words of a name that checks: `pytest.raises`, `np.testing.assert_allclose`, `pytest.fail`, `does_not_raise`.
CHECKS = ("assert", "raise", "warns", "fail", "missing")


def some(found: Iterable[Item]) -> list[Item]:
    """What was found, in order; nothing found is a failure, so that a loop over it checks something."""
    items = list(found)
    assert items, "nothing was found, so that nothing would be checked"
    return items


def called(node: ast.AST) -> str:
    """The last part of a called function's name."""
    function = node.func if isinstance(node, ast.Call) else None
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def checks(node: ast.AST, checking: Iterable[str] = ()) -> bool:
    """Whether something below a node can make a test fail; `checking` names functions of ours that can."""
    for each in ast.walk(node):
        if isinstance(each, ast.Assert):
            return True
        name = called(each)
        if name in checking or any(word in name for word in CHECKS):
            return True
        if isinstance(each, ast.Call) and any(
            word.arg == "check" and ast.unparse(word.value) == "True" for word in each.keywords
        ):
            return True
    return False


def checking_functions(trees: Iterable[ast.Module], known: Iterable[str] = ()) -> set[str]:
    """Names of the functions that check something, themselves or through others, or through `known`."""
    functions = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
    ]
    found = set(known)
    found |= {node.name for node in functions if checks(node)}
    calls = {
        node.name: {called(each) for each in ast.walk(node)}
        for node in functions
        if node.name not in found
    }
    while new := {name for name, names in calls.items() if name not in found and names & found}:
        found |= new
    return found


def tests_without_a_check(tree: ast.Module, checking: Iterable[str]) -> list[str]:
    """Tests in which nothing can fail but the code itself; `does_not_raise` says that this is the claim."""
    return [
        f"{node.lineno} {node.name} checks nothing"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not checks(node, checking)
    ]


def compared_with_itself(tree: ast.Module) -> list[str]:
    """`assert x == x`, also through `np.testing`; twice the same call shows nothing either."""
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare):
            sides = [node.test.left, *node.test.comparators]
        elif isinstance(node, ast.Call) and called(node).startswith("assert_"):
            sides = list(node.args[:2])
        else:
            continue
        texts = [ast.unparse(side) for side in sides]
        if len(texts) > 1 and len(set(texts)) == 1:
            wrong.append(f"{node.lineno} compares {texts[0]} with itself")
    return wrong


def searched(node: ast.AST) -> bool:
    """Whether a loop goes over what a search finds, unless `some` says that there must be something."""
    if isinstance(node, ast.Call) and called(node) in ("sorted", "list", "set", "reversed"):
        return bool(node.args) and searched(node.args[0])
    return called(node) in SEARCHES


def names_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


def counted(loop: ast.For, function: ast.AST) -> bool:
    """Whether an assertion after the loop asks for what the loop has counted or collected."""
    inside = list(ast.walk(loop))
    stored = names_in(node.target for node in inside if isinstance(node, ast.AugAssign))
    stored |= names_in(node.func.value for node in inside if called(node) in ("append", "add"))
    stored |= {
        name
        for node in inside
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
        for name in names_in([node.value])
    }
    after = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Assert) and node.lineno > (loop.end_lineno or 0)
    ]
    return bool(stored & names_in(after))


def loops_over_nothing(tree: ast.Module) -> list[str]:
    """Checks inside a loop over what a search finds: where it finds nothing, they all pass."""
    wrong = []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function, node in ((f, node) for f in functions for node in ast.walk(f)):
        if isinstance(node, ast.For) and searched(node.iter):
            holds = any(isinstance(each, ast.Assert) for each in ast.walk(node))
            if holds and not counted(node, function):
                wrong.append(f"{node.lineno} loops over {ast.unparse(node.iter)}")
        elif isinstance(node, ast.Assert):
            wrong += [
                f"{each.lineno} loops over {ast.unparse(part.iter)}"
                for each in ast.walk(node)
                if called(each) == "all"
                for part in (p for x in ast.walk(each) for p in getattr(x, "generators", ()))
                if searched(part.iter)
            ]
    return wrong


def unable_to_fail(folder: Path) -> list[str]:
    """A line for each place in the test files below a folder."""
    trees = {path: ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}
    helpers = [tree for path, tree in trees.items() if not path.name.startswith("test_")]
    shared = checking_functions(helpers)
    wrong = []
    for path, tree in trees.items():
        checking = checking_functions([tree], shared)
        places = tests_without_a_check(tree, checking) if path.name.startswith("test_") else []
        places += compared_with_itself(tree) + loops_over_nothing(tree)
        wrong += [f"{path.relative_to(folder)}:{place}" for place in places]
    return wrong
