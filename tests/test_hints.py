"""Arguments of public functions of the package and of sim/ have types; ruff asks for those of results."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FREE = {"platform"}
"""Amaranth calls elaborate with it; nobody here reads it."""


def untyped(body, owner=""):
    """Arguments without a type of the functions in a module's or a public class's body, constructors among them."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from untyped(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            static = any(isinstance(name, ast.Name) and name.id == "staticmethod" for name in node.decorator_list)
            arguments = [*node.args.posonlyargs, *node.args.args][1 if owner and not static else 0 :]
            if not node.name.startswith("_") or node.name == "__init__":
                for argument in (*arguments, *node.args.kwonlyargs):
                    if argument.annotation is None and argument.arg not in FREE:
                        yield f"{owner}{node.name}({argument.arg})"


@pytest.mark.parametrize("room", ["lstm_hw", "sim"])
def test_arguments_of_public_functions_have_types(room):
    found = {
        path.relative_to(ROOT): list(untyped(ast.parse(path.read_text()).body)) for path in (ROOT / room).rglob("*.py")
    }
    assert {str(path): names for path, names in found.items() if names} == {}


def test_what_has_no_type_is_found():
    text = "class A:\n def __init__(self, b): ...\n @staticmethod\n def f(c, *, d): ...\n def _g(self, e): ...\n"
    text += "def h(i: int, j): ..."
    assert list(untyped(ast.parse(text).body)) == ["A.__init__(b)", "A.f(c)", "A.f(d)", "h(j)"]
