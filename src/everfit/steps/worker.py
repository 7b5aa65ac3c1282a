"""The child process that runs steps, and the protocol it speaks.

Started as a file, never imported there: nothing but the standard library, ``codec`` and ``within``
is loaded until a step needs more. Requests come on standard input and replies leave on a pipe of
their own, so that whatever a step prints, in Python or in C, goes to the output that is captured.

A message is two lengths, a JSON header, and attachments whose lengths ``sizes`` lists.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

MOST_KEPT_BYTES = 256 * 1024 * 1024
MOST_KEPT_VALUES = 64
LENGTH_BYTES = 4
Code = dict[str, tuple[str, str]]


class Stale(Exception):
    """The file was changed between the plan of the run and now."""


class Unstorable(Exception):
    """What the step returned cannot be written as bytes."""


def write_message(
    pipe: IO[bytes], header: dict[str, Any], attachments: Sequence[bytes] = ()
) -> None:
    """Write one message and flush."""
    sizes = [len(attachment) for attachment in attachments]
    head = json.dumps({**header, "sizes": sizes}).encode()
    pipe.write(len(head).to_bytes(LENGTH_BYTES, "big") + head)
    for attachment in attachments:
        pipe.write(attachment)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the next message; raises EOFError when the other side is gone."""
    header = json.loads(_exactly(pipe, int.from_bytes(_exactly(pipe, LENGTH_BYTES), "big")))
    return header, [_exactly(pipe, size) for size in header.pop("sizes")]


def peak_bytes(process: int | str = "self") -> int:
    """Return the most memory the process has held since ``forget_peak``, in bytes.

    Where the kernel does not tell (outside Linux), the most since its start, or 0 of another.
    """
    try:
        status = Path(f"/proc/{process}/status").read_bytes()
        return int(status.split(b"VmHWM:", 1)[1].split(None, 1)[0]) * 1024
    except (OSError, IndexError):
        if process != "self":
            return 0
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Let ``peak_bytes`` begin anew at what is held now, where the kernel can."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
    except OSError:
        return


def cpu_seconds() -> float:
    """Return user and system time of all threads, and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) != size:
        raise EOFError
    return content


class Kept:
    """Values of earlier steps by the handle the parent gave them, the longest unused dropped first.

    All are decoded from their bytes, also those that a step made in this process: a step then
    gets the same whichever process it runs in, and equal runs give equal bytes. A value that a
    step could change is decoded anew each time.
    """

    def __init__(self, codec: ModuleType) -> None:
        self._codec = codec
        self._entries: OrderedDict[int, tuple[str, Any, bool, int]] = OrderedDict()
        self._bytes = 0

    def add(self, handle: int, kind: str, content: bytes) -> None:
        """Keep a value by its content."""
        self._entries[handle] = (kind, content, False, len(content))
        self._bytes += len(content)

    def value(self, handle: int, code: Code) -> Any:
        """Return what a step is to be given for ``handle``; ``code`` has the project's files."""
        kind, held, decoded, size = self._entries[handle]
        self._entries.move_to_end(handle)
        if decoded:
            return self._codec.handed(held)
        value = self._codec.decode(kind, held, lambda module: import_own(module, code))
        if self._codec.shareable(value):
            self._entries[handle] = (kind, value, True, size)
            return self._codec.handed(value)
        return value

    def shrink(self) -> list[int]:
        """Drop values until the limits hold; return their handles."""
        dropped = []
        while self._bytes > MOST_KEPT_BYTES or len(self._entries) > MOST_KEPT_VALUES:
            handle, entry = self._entries.popitem(last=False)
            self._bytes -= entry[3]
            dropped.append(handle)
        return dropped


def run_step(
    request: dict[str, Any], attachments: list[bytes], kept: Kept, codec: ModuleType
) -> tuple[dict[str, Any], list[bytes]]:
    """Run the step of ``request``; return the reply and the encoded value."""
    within = importlib.import_module("everfit.within")
    forget_peak()
    wall, cpu = time.perf_counter(), cpu_seconds()
    for (handle, kind), content in zip(request["attached"], attachments, strict=True):
        kept.add(handle, kind, content)
    code = request["code"]
    with within.logging_to(within.StepContext(**request["log"])):
        function = load_function(request["function"], code)
        inputs = {name: kept.value(handle, code) for name, handle in request["inputs"].items()}
        value = function(**inputs, **request["params"])
        del inputs
    kind, content = _encoded(value, codec, code)
    kept.add(request["output"], kind, content)
    metered = {
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": cpu_seconds() - cpu,
        "peak_bytes": peak_bytes(),
    }
    return {"kind": kind, **metered}, [content]


def _encoded(value: object, codec: ModuleType, code: Code) -> tuple[str, bytes]:
    try:
        encoded: tuple[str, bytes] = codec.encode(value, code)
    except Exception as error:
        raise Unstorable(
            f"its result, a {type(value).__name__}, cannot be stored: {error}"
        ) from error
    return encoded


def load_function(reference: str, code: Code) -> Callable[..., Any]:
    """Return the function; its file must be the one that ``code`` (name -> path, digest) says."""
    where, _, name = reference.rpartition(":")
    with _no_bytecode():
        module = (
            _load_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
        )
    for path, digest in code.values():
        if path not in _checked:
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != digest:
                raise Stale(f"{path} was changed while the run began")
            _checked.add(path)
    function = getattr(module, name)
    if not callable(function):
        raise TypeError(f"{reference} is no function but {function!r}")
    return function  # type: ignore[no-any-return]


_checked: set[str] = set()


def import_own(name: str, code: Code) -> None:
    """Import the module if it is one of the project's, from the place that ``code`` says."""
    if name in sys.modules or name not in code:
        return
    path = Path(code[name][0])
    with _no_bytecode():
        if path.stem == name:
            _load_file(path)
            return
        root = path.parents[name.count(".") + (path.name == "__init__.py")]
        sys.path.insert(0, str(root))
        importlib.import_module(name)


@contextmanager
def _no_bytecode() -> Iterator[None]:
    # A compiled file is found by the second of its change: the code of a moment ago could run.
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = keep


def _load_file(path: Path) -> ModuleType:
    """Import the file under its own name, its folder first on the path, as if it were run."""
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    sys.path.insert(0, str(path.parent))
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module
    try:
        # Compiled here and not by the import system, which would take an older compiled file;
        # without the `from __future__` of this one.
        compiled = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        exec(compiled, module.__dict__)  # noqa: S102 - the user's own pipeline
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def failure(error: BaseException) -> dict[str, Any]:
    """Return the error as data: errors of ours by their code, others by their traceback."""
    tree = sys.modules.get("everfit.errors")
    if tree is not None and isinstance(error, tree.EverfitError):
        return {
            "codes": [cls.code for cls in type(error).__mro__ if hasattr(cls, "code")],
            "message": error.message,
            "hint": error.hint,
            "problems": [[p.path, p.found, p.remedy] for p in error.problems],
            "context": json.loads(json.dumps(error.context, default=str)),
        }
    if isinstance(error, Stale):
        hint = "Run again: what had finished is kept."
        return {"codes": ["conflict"], "message": str(error), "hint": hint}
    import traceback  # noqa: PLC0415 - a step that succeeds does not pay for it

    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(
            traceback.FrameSummary(error.filename, error.lineno, "<module>", line=error.text)
        )
    own = [frame for frame in frames if frame.filename != __file__ and frame.filename[0] != "<"]
    return {
        "codes": [],
        "type": type(error).__name__,
        "message": "".join(traceback.format_exception_only(error)).strip().splitlines()[-1],
        "traceback": [f"{f.filename}:{f.lineno} in {f.name}: {f.line}" for f in own],
    }


def _serve(requests: IO[bytes], replies: IO[bytes], watched: int) -> None:
    codec = _load_codec()
    die_with_parent = _DieWithParent(watched)
    kept = Kept(codec)
    while True:
        request, attachments = read_message(requests)
        content: list[bytes] = []
        with die_with_parent:
            try:
                reply, content = run_step(request, attachments, kept, codec)
            except BaseException as error:  # noqa: BLE001 - the parent decides what it means
                reply = {"failed": failure(error)}
            _flush()
        del attachments
        write_message(replies, {**reply, "dropped": kept.shrink()}, content)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the step closed it
            continue


class _DieWithParent:
    """While a step runs, end this process at once when the parent's end of a pipe closes.

    A pipe that nothing is ever written to: a write sends the signal too, as the last thing it
    does, and the step may have begun by then.

    The kernel then sends SIGIO, which ends a process by default: also one that holds the
    interpreter lock, where a watching thread would wait. (PR_SET_PDEATHSIG would fire when the
    *thread* ends that started this process.)
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        fcntl.fcntl(self._pipe, fcntl.F_SETOWN, os.getpid())
        signal.signal(signal.SIGIO, signal.SIG_DFL)

    def __enter__(self) -> None:
        fcntl.fcntl(self._pipe, fcntl.F_SETFL, os.O_ASYNC)
        gone = select.poll()
        gone.register(self._pipe, 0)
        if gone.poll(0):  # it was gone before the signal was asked for
            os._exit(1)

    def __exit__(self, *_raised: object) -> None:
        fcntl.fcntl(self._pipe, fcntl.F_SETFL, 0)


def _load_codec() -> ModuleType:
    """Import ``codec`` without its room's front door, which imports the database."""
    name = "everfit.steps.codec"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("codec.py"))
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - it lies beside us
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Serve until the parent closes the pipe."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(int(sys.argv[1]), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        hello, _ = read_message(requests)
        # What the parent can import can be imported here.
        sys.path[:] = hello["path"]
        _serve(requests, replies, int(sys.argv[2]))
    except (EOFError, BrokenPipeError):
        # Nobody is left to tell. Threads that a step left behind must not keep the process.
        os._exit(0)


if __name__ == "__main__":
    main()
