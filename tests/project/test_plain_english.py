"""The part of CONTRIBUTING's style that a machine can check, file by file and in all."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = [path for folder in ("src", "datamodules", "callbacks", "hardware") for path in (ROOT / folder).rglob("*.py")]
PRONOUNS = {"it", "them", "they", "those", "of", "found", "shown", "given", "taken", "asked", "told", "seen", "kept"}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_RUN = 20  # lines of a function without a blank line or a heading
LONGEST_FILE = 300
SECTIONS = ("Args:", "Attributes:", "Raises:")


def statements(tree):
    """All statements, each with the expressions that belong to it and to no statement inside it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            yield node, [part for part in ast.iter_child_nodes(node) if not isinstance(part, ast.stmt)]


def names(tree):
    """All names that the code itself gives: to variables, arguments, and in comprehensions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def body_lines(function, lines):
    """The lines of a function behind its signature and its docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    start = first.end_lineno if is_docstring else first.lineno - 1
    return [line.strip() for line in lines[start : function.end_lineno]]


def entries(docstring):
    """The entries of a docstring's sections: name and first words."""
    section = False
    for line in docstring.splitlines():
        if not line.startswith(" ") and line:
            section = line.strip() in SECTIONS
        elif section and (entry := re.match(r" {4}([\w.*]+): *(.*)", line)):
            yield entry[1], entry[2]


def badly_named(tree):
    for name, line in names(tree):
        if name in PRONOUNS:
            yield f"line {line}: a variable is called '{name}'"


def crowded(tree):
    for statement, parts in statements(tree):
        inside = [node for part in parts for node in ast.walk(part)]
        if sum(isinstance(node, COMPREHENSIONS) for node in inside) > 1:
            yield f"line {statement.lineno}: more than one comprehension in a statement"


def too_clever(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.List | ast.Tuple | ast.Dict):
            yield f"line {node.lineno}: a literal is indexed where a condition would say why"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            factors = [getattr(side, "value", side) for side in (node.left, node.right)]
            texts = any(isinstance(factor, ast.JoinedStr | str | list) for factor in factors)
            if texts and not any(isinstance(factor, int) for factor in factors):
                yield f"line {node.lineno}: a text is multiplied by a condition"


def half_a_sentence(tree):
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)):
            for name, words in entries(ast.get_docstring(node) or ""):
                if words and not re.match(r"[A-ZΑ-Ω0-9`\"'(\[]", words):
                    yield f"line {getattr(node, 'lineno', 1)}: '{name}: {words}' begins like the rest of a sentence"


def breathless(tree, lines):
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            run = 0
            for line in body_lines(node, lines):
                run = 0 if not line or line.startswith("#") else run + 1
                if run == LONGEST_RUN + 1:
                    yield f"line {node.lineno}: {node.name} has over {LONGEST_RUN} lines without a pause"


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_reads_plainly(path):
    text = path.read_text()
    tree, lines = ast.parse(text), text.splitlines()
    faults = [*badly_named(tree), *crowded(tree), *too_clever(tree), *half_a_sentence(tree), *breathless(tree, lines)]
    if len(lines) > LONGEST_FILE:
        faults.append(f"{len(lines)} lines, {LONGEST_FILE} at most")
    assert not faults, "\n" + "\n".join(faults)


def test_the_whole_has_room_to_breathe():
    """Comprehensions, blank lines and headings are about as frequent as in the codebases that this one learns from."""
    total = comprehensions = comments = inside = blank = 0
    for path in CODE:
        text = path.read_text()
        tree, lines = ast.parse(text), text.splitlines()
        total += len(lines)
        comments += sum(line.strip().startswith("#") for line in lines)
        comprehensions += sum(isinstance(node, COMPREHENSIONS) for node in ast.walk(tree))
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS) and node.end_lineno - node.lineno >= 12:
                body = body_lines(node, lines)
                inside += len(body)
                blank += sum(not line for line in body)
    assert comprehensions / total <= 0.012
    assert blank / inside >= 0.055
    assert comments / total >= 0.015
