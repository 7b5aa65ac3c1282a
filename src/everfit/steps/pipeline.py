"""``pipeline.py``: its public functions are the steps; its parameters name what they need.

The file is read, never imported: the process that plans and records runs no code of the user.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everfit.errors import PipelineInvalid, Problem
from everfit.steps.fingerprint import Sources
from everfit.steps.model import cycles

HINT = "Correct them all, then run again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One step of a pipeline as it is written.

    ``inputs`` are the parameters that name other steps, ``params`` those that the policy's
    params give, ``defaults`` the literal values that the function itself has for the others.
    """

    name: str
    line: int
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    defaults: Mapping[str, Any]
    own_process: bool
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """The steps of one ``pipeline.py`` by name, in the order of the file."""

    path: Path
    steps: Mapping[str, Function]

    def reference(self, name: str) -> str:
        """Return what ``Call.function`` is to be for this step."""
        return f"{self.path}:{name}"


def load_pipeline(path: Path, params: Collection[str], *, known: Collection[str] = ()) -> Pipeline:
    """Return the steps that the file defines; functions whose name begins with ``_`` are none.

    ``params`` are the names (or the mapping) of the policy's params, ``known`` the steps that
    exist without this file. A name that is both a step and a param means the step.

    Raises
    ------
    PipelineInvalid
        Naming every problem with its line: unknown inputs, cycles, missing annotations, ...
    """
    path = path.resolve()
    sources = Sources()
    statements = sources.module(str(path)).statements
    found = [
        node
        for node in statements
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
    ]
    names = {node.name for node in found} | set(known)
    problems = [problem for node in found for problem in _problems(node, path, names | set(params))]
    problems += _twice(found, path)
    needs = {node.name: {a.arg for a in _parameters(node)} & names for node in found}
    lines = {node.name: node.lineno for node in found}
    problems += [_cycle(loop, path, lines) for loop in cycles(needs)]
    if problems:
        raise PipelineInvalid.of(str(path), problems, hint=HINT)
    steps = {}
    for node in found:
        digest = sources.fingerprint(f"{path}:{node.name}")
        steps[node.name] = _function(node, names, params, digest)
    return Pipeline(path=path, steps=steps)


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    names: Collection[str],
    params: Collection[str],
    digest: str,
) -> Function:
    parameters = [argument.arg for argument in _parameters(node)]
    inputs = tuple(name for name in parameters if name in names)
    given = tuple(name for name in parameters if name in params and name not in inputs)
    return Function(
        name=node.name,
        line=node.lineno,
        inputs=inputs,
        params=given,
        defaults=dict(_literal_defaults(node)),
        own_process=any(_asks_own_process(decorator) for decorator in node.decorator_list),
        digest=digest,
    )


def _problems(
    node: ast.FunctionDef | ast.AsyncFunctionDef, path: Path, names: Collection[str]
) -> Iterator[Problem]:
    where = f"{path}:{node.lineno} {node.name}"
    yield from _wrong_kind(node, where)
    for mark, extra in (("*", node.args.vararg), ("**", node.args.kwarg)):
        if extra is not None:
            found = f"the parameter {mark}{extra.arg}"
            yield Problem(path=where, found=found, remedy="name each step or param it needs")
    defaults = {argument.arg for argument, _ in _with_defaults(node)}
    for argument in _parameters(node):
        where = f"{path}:{argument.lineno} {node.name}.{argument.arg}"
        if argument.annotation is None:
            yield Problem(path=where, found="no annotation", remedy="write the parameter's type")
        if argument.arg not in names and argument.arg not in defaults:
            yield Problem(
                path=where,
                found=f"{argument.arg!r}, which is neither a step nor a param",
                remedy=f"use one of {', '.join(sorted(set(names) - {node.name}))}, or a default",
            )


def _wrong_kind(node: ast.FunctionDef | ast.AsyncFunctionDef, where: str) -> Iterator[Problem]:
    if isinstance(node, ast.AsyncFunctionDef):
        yield Problem(path=where, found="an async function", remedy="write a plain function")
    if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_nodes(node)):
        yield Problem(path=where, found="a generator", remedy="return the whole value")
    if node.args.posonlyargs:
        yield Problem(path=where, found="the parameter list has /", remedy="leave / out")


def _twice(found: list[ast.FunctionDef | ast.AsyncFunctionDef], path: Path) -> list[Problem]:
    lines: dict[str, int] = {}
    problems = []
    for node in found:
        if node.name in lines:
            where = f"{path}:{node.lineno} {node.name}"
            first = f"a second step of this name, the first is in line {lines[node.name]}"
            problems.append(Problem(path=where, found=first, remedy="rename one of them"))
        lines.setdefault(node.name, node.lineno)
    return problems


def _cycle(loop: list[str], path: Path, lines: Mapping[str, int]) -> Problem:
    return Problem(
        path=f"{path}:{lines[loop[0]]} {loop[0]}",
        found=f"a cycle: {' -> '.join(loop)}",
        remedy="take one of these inputs away",
    )


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def _with_defaults(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[ast.arg, ast.expr]]:
    positional = [*node.args.posonlyargs, *node.args.args]
    first = len(positional) - len(node.args.defaults)
    yield from zip(positional[first:], node.args.defaults, strict=True)
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is not None:
            yield argument, default


def _literal_defaults(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[str, Any]]:
    for argument, default in _with_defaults(node):
        try:
            yield argument.arg, ast.literal_eval(default)
        except ValueError:  # an expression: only the function itself knows its value
            continue


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of the functions inside it."""
    for inner in ast.iter_child_nodes(node):
        yield inner
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own_nodes(inner)


def _asks_own_process(decorator: ast.expr) -> bool:
    """Return whether this is ``@step(own_process=True)``, by whatever path it was imported."""
    if not isinstance(decorator, ast.Call):
        return False
    function = decorator.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "step" and any(
        keyword.arg == "own_process"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for keyword in decorator.keywords
    )
