"""When two versions of a function are the same code: fingerprints that comments do not change.

The fingerprint of a function covers its syntax tree without docstrings, and, transitively, the
functions, classes and constants of the project that it names. Libraries count by name only: the
environment lock, which is in every cache key, has their versions. Everfit's own functions count
as their whole file with Everfit's version. What a function reads while it runs, such as a data
file, is not seen: pass it as an input.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import everfit
from everfit.errors import PipelineInvalid, Problem

WHOLE = "*"
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
LIBRARY_FOLDERS = {"site-packages", "dist-packages"}


@dataclass(frozen=True, slots=True)
class Import:
    """What an import statement binds: ``module``, or its attribute ``name``."""

    module: str
    name: str | None

    def __str__(self) -> str:
        return f"import {self.module} {self.name or ''}"


@dataclass(slots=True)
class Module:
    """A source file of the project: what each of its names is bound to."""

    path: Path
    digest: str
    name: str
    statements: list[ast.stmt]
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    # Statements that run on import and may change anything: part of every fingerprint.
    loose: list[ast.stmt] = field(default_factory=list)

    def sort(self) -> None:
        """File each top-level statement under the names it binds."""
        for statement in self.statements:
            names = _bound(statement)
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._file_import(statement)
            elif not names and not _is_main_guard(statement):
                self.loose.append(statement)
                for inner in ast.walk(statement):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        self._file_import(inner)

    def _file_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        for bound, found in _imports(statement, self):
            if bound == WHOLE:
                self.stars.append(found.module)
            else:
                self.imports[bound] = found

    def behind(self, name: str) -> list[ast.stmt]:
        """Return the statements that make ``name`` what it is."""
        if name == WHOLE:
            return self.statements
        return [*self.definitions.get(name, []), *self.loose]


class Sources:
    """The project's source files as they are now, read once each."""

    def __init__(self) -> None:
        self._modules: dict[Path, Module] = {}
        self._read_statements: dict[ast.stmt, tuple[str, list[str | Import]]] = {}

    @property
    def code(self) -> dict[str, tuple[str, str]]:
        """Return name -> (path, SHA-256 of the content) of each source file read so far."""
        return {m.name: (str(m.path), m.digest) for m in self._modules.values()}

    def read_imports(self) -> None:
        """Read whatever of the project the files read so far import, directly or through others.

        A process that imports one of them imports them all, whichever a function names.
        """
        left = list(self._modules.values())
        while left:
            module = left.pop()
            known = len(self._modules)
            for inner in (node for top in module.statements for node in ast.walk(top)):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    for _, found in _imports(inner, module):
                        self._imported(module, found)
            left += list(self._modules.values())[known:]

    def fingerprint(self, function: str) -> str:
        """Return the SHA-256 of the code of ``"module:name"`` or ``"/path.py:name"``.

        Raises
        ------
        PipelineInvalid
            If there is no such file, it is not Python, or it does not define the name.
        """
        where, _, name = function.rpartition(":")
        if where.split(".")[0] == "everfit":
            return hashlib.sha256(f"{name} {_library_file(where)}".encode()).hexdigest()
        module = self.module(where)
        if name not in module.definitions and name not in module.imports:
            raise _invalid(where, f"no {name!r}", "name a function that the file defines")
        parts: set[str] = set()
        self._collect(module, name, parts)
        return hashlib.sha256("\n".join([name, *sorted(parts)]).encode()).hexdigest()

    def module(self, where: str) -> Module:
        """Return the source file at a path or of a module name."""
        path = Path(where) if where.endswith(".py") else _file_of(where, None)
        if path is None or not path.is_file():
            raise _invalid(where, "no such file", "give an existing Python file or module")
        return self._read(path.resolve(), path.stem if where.endswith(".py") else where)

    def _read(self, path: Path, name: str) -> Module:
        if path not in self._modules:
            content = path.read_bytes()
            try:
                tree = ast.parse(content, filename=str(path))
            except SyntaxError as error:
                where = f"{path}:{error.lineno}"
                raise _invalid(where, f"a syntax error: {error.msg}", "correct it") from error
            digest = hashlib.sha256(content).hexdigest()
            module = Module(path=path, digest=digest, name=name, statements=tree.body)
            module.sort()
            self._modules[path] = module
        return self._modules[path]

    def _collect(self, start: Module, name: str, parts: set[str]) -> None:
        """Add to ``parts`` the text of what ``name`` stands for, and of all that it names."""
        waiting = [(start, name)]
        seen: set[object] = set()
        while waiting:
            target = waiting.pop()
            if (target[0].path, target[1]) in seen:
                continue
            seen.add((target[0].path, target[1]))
            for statement in target[0].behind(target[1]):
                if statement not in seen:
                    seen.add(statement)
                    text, named = self._statement(target[0], statement)
                    parts.add(f"{target[0].name} {text}")
                    for found in named:
                        waiting += self._resolve(target[0], found, parts)
            if target[1] in target[0].imports:
                waiting += self._resolve(target[0], target[0].imports[target[1]], parts)

    def _statement(self, module: Module, statement: ast.stmt) -> tuple[str, list[str | Import]]:
        if statement not in self._read_statements:
            _drop_docstrings(statement)
            named = list(self._named(module, statement))
            self._read_statements[statement] = (ast.dump(statement), named)
        return self._read_statements[statement]

    def _named(self, module: Module, statement: ast.stmt) -> Iterator[str | Import]:
        """Yield what ``statement`` refers to: names of its module, and attributes of imports."""
        attributes = _attributes(statement)
        for inner in ast.walk(statement):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                yield from (found for _, found in _imports(inner, module))
        for name in _free_names(statement):
            used = module.imports.get(name)
            if used is not None and used.name is None and name in attributes:
                yield from (Import(used.module, attribute) for attribute in attributes[name])
            else:
                yield used or name

    def _resolve(
        self, module: Module, found: str | Import, parts: set[str]
    ) -> list[tuple[Module, str]]:
        if isinstance(found, str):
            if found in module.definitions:
                return [(module, found)]
            stars = [Import(star, found) for star in module.stars]
            return [target for star in stars for target in self._imported(module, star)]
        parts.add(str(found))
        return self._imported(module, found)

    def _imported(self, module: Module, found: Import) -> list[tuple[Module, str]]:
        """Return what of the project an import leads to; nothing for a library."""
        path = _file_of(found.module, module)
        if path is None:
            return []
        source = self._read(path, found.module)
        if found.name is None:
            return [(source, WHOLE)]
        if found.name in source.definitions or found.name in source.imports:
            return [(source, found.name)]
        inner = f"{found.module}.{found.name}"
        path = _file_of(inner, module)
        # Neither defined nor a file: a star import or a trick; then all of the module counts.
        return [(source if path is None else self._read(path, inner), WHOLE)]


def fingerprint(function: str) -> str:
    """Return the fingerprint of one function as it is now."""
    return Sources().fingerprint(function)


def _invalid(path: str, found: str, remedy: str) -> PipelineInvalid:
    problem = Problem(path=path, found=found, remedy=remedy)
    return PipelineInvalid.of("the pipeline", [problem], hint="Correct it, then run again.")


@functools.cache
def _library_file(module: str) -> str:
    path = _file_below(Path(everfit.__file__).parent.parent, module)
    if path is None:
        raise _invalid(module, "no such module", "name a module of everfit")
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashlib.sha256(f"{everfit.__version__} {content}".encode()).hexdigest()


def _file_of(module: str, seen_from: Module | None) -> Path | None:
    """Return the file of a module of the project; None for libraries and what is not found."""
    if seen_from is not None:
        depth = seen_from.name.count(".") + (seen_from.path.name == "__init__.py")
        beside = _file_below(seen_from.path.parents[depth], module)
        if beside is not None:
            return beside
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "everfit":
        return None
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a module made by hand, without a spec
        return None
    origin = Path(spec.origin) if spec and spec.origin else None
    if origin is None or LIBRARY_FOLDERS & set(origin.parts):
        return None
    root = origin.parents[1] if origin.name == "__init__.py" else origin.parent
    return _file_below(root, module)


def _file_below(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path.resolve()
    return None


def _bound(statement: ast.stmt) -> list[str]:
    """Return the names that a definition or a plain assignment binds; else nothing."""
    if isinstance(statement, Definition):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    inner = [node for target in targets for node in ast.walk(target)]
    if any(isinstance(node, ast.Attribute | ast.Subscript) for node in inner):
        return []
    return [node.id for node in inner if isinstance(node, ast.Name)]


def _is_main_guard(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True  # the module's docstring
    return isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test)


def _imports(
    statement: ast.Import | ast.ImportFrom, module: Module
) -> Iterator[tuple[str, Import]]:
    """Yield (bound name, what it is bound to)."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            # `import a.b` and `import a.c` both bind a: like a star import, either may be meant.
            bound = alias.asname or (WHOLE if "." in alias.name else alias.name)
            yield bound, Import(alias.name, None)
        return
    source = statement.module or ""
    if statement.level:
        package = module.name.split(".")
        package = package if module.path.name == "__init__.py" else package[:-1]
        package = package[: len(package) - statement.level + 1]
        source = ".".join([*package, *filter(None, [source])])
    for alias in statement.names:
        if alias.name == WHOLE:
            yield WHOLE, Import(source, None)
        else:
            yield alias.asname or alias.name, Import(source, alias.name)


def _free_names(statement: ast.stmt) -> set[str]:
    """Return the names that may be the module's: for a function all but its own parameters.

    A step's parameters are called like the steps they come from, and do not name them. Other
    local variables stay in: one too many only makes a fingerprint more careful.
    """
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return _names(statement)
    given = statement.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    arguments += [extra for extra in (given.vararg, given.kwarg) if extra is not None]
    outside = _names(statement.args)
    for decorator in statement.decorator_list:
        outside |= _names(decorator)
    inside = {name for inner in statement.body for name in _names(inner)}
    return outside | (inside - {argument.arg for argument in arguments})


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _attributes(statement: ast.stmt) -> Mapping[str, set[str]]:
    """Return the attributes taken of each name of which nothing else is done."""
    taken: dict[str, set[str]] = {}
    bare: dict[str, int] = {}
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken.setdefault(node.value.id, set()).add(node.attr)
            bare[node.value.id] = bare.get(node.value.id, 0) - 1
        elif isinstance(node, ast.Name):
            bare[node.id] = bare.get(node.id, 0) + 1
    return {name: attributes for name, attributes in taken.items() if bare[name] == 0}


def _drop_docstrings(statement: ast.stmt) -> None:
    for node in ast.walk(statement):
        if isinstance(node, Definition) and ast.get_docstring(node) is not None:
            del node.body[0]
