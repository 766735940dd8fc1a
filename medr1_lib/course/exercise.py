"""Exercises that check themselves: wrong, unsolved or endless, the chapter always goes on."""

import copy
import ctypes
import math
import pkgutil
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Of processor time for a call, since on a busy machine a first import takes longer; one that waits
# for something is given up after twelve times as long.
SECONDS = 5.0
KINDS: dict[str, Any] = {"True or False": bool, "a number": int | float, "a dictionary": dict}
KINDS["a list"] = list | tuple

Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One call to try."""

    arguments: tuple[Any, ...]  # passed by position, a fresh copy each time
    missed: str  # what a function that fails here has missed, told to the student


@dataclass(frozen=True)
class Exercise:
    """A function that students write, compared with the library's own.

    Called with the student's function, it returns that function if it agrees with the library's in
    every case, else the library's.
    """

    library: str  # the library's function as `module:name`, loaded only when the check runs
    cases: tuple[Case, ...]  # from the plainest to the subtlest; the first that fails is told

    def __call__(self, theirs: Function) -> Function:
        """Print in one line what is wrong, if anything, and return the function to go on with."""
        ours: Function = pkgutil.resolve_name(self.library)
        if theirs is ours:
            problem = "this is the library's version already, run the cell with yours again"
        elif not callable(theirs):
            problem = f"not right yet. It should be a function, not {_line(theirs)}"
        else:
            problem = self._first_problem(theirs, ours)
        if problem:
            print(f"{ours.__name__}: {problem}. Going on with the library's version.")
            return ours
        count = len(self.cases)
        print(f"{ours.__name__}: right in {count} of {count} cases. Going on with yours.")
        return theirs

    def _first_problem(self, theirs: Function, ours: Function) -> str:
        """How many cases are right, and what the first of the others shows; empty if none is."""
        problems: list[str] = []
        for case in self.cases:
            got, error = _outcome(theirs, case.arguments)
            if got is ... or isinstance(error, NotImplementedError):
                return "not solved yet"
            problem = _problem(ours, case, got, error, first=not problems)
            problems.append(problem or _wrong_slope(theirs, ours, case))
            if isinstance(error, TimeoutError):  # each further case would take as long
                break
        score = f"not right yet, right in {problems.count('')} of {len(self.cases)} cases"
        return next((f"{score}. {problem}" for problem in problems if problem), "")


def _problem(
    ours: Function, case: Case, got: object, error: BaseException | None, first: bool
) -> str:
    """Why an outcome is not the one expected, in one line; empty if it is."""
    expected = ours(*copy.deepcopy(case.arguments))
    call = f"{ours.__name__}({', '.join(map(_line, case.arguments))})"
    if isinstance(error, TimeoutError):
        return f"{call} has not returned after {SECONDS:g} s: its loop may never end"
    if error:
        return f"{call} raises {type(error).__name__}: {_line(error, str)}; here: {case.missed}"
    wanted, found = (getattr(value, "requires_grad", -1) for value in (expected, got))
    if _same(got, expected) and found >= wanted:  # at least a tensor, or a gradient, if one is due
        return ""
    if got is None:
        return f"{call} gives None: each way through it has to end in `return`"
    # A wrong form shows at once; one that shows later has to do with what this case is about.
    form = _form(got, expected)
    first = first or _same(got, expected)  # only the gradient is missing
    why = form if form and first else "; ".join(filter(None, (form, case.missed)))
    return f"{call} gives {_line(_plain(got))}, not {_line(_plain(expected))}: {why}"


def _wrong_slope(theirs: Function, ours: Function, case: Case) -> str:
    """What is wrong with the gradient of a result whose value is right; empty if nothing is."""
    wanted = _slopes(ours, case)
    if not any(slope is not None for slope in wanted) or _same(_slopes(theirs, case), wanted):
        return ""
    call = f"{ours.__name__}({', '.join(map(_line, case.arguments))})"
    return f"{call} has the right value and a wrong gradient: {case.missed}"


def _slopes(function: Function, case: Case) -> list[object]:
    """The gradient of a result by each argument; empty if none is a tensor that asks for one."""
    arguments = copy.deepcopy(case.arguments)
    if not any(getattr(argument, "requires_grad", False) for argument in arguments):
        return []
    result = function(*arguments)
    if result.requires_grad:
        result.sum().backward()
    return [getattr(argument, "grad", None) for argument in arguments]


def _outcome(function: Function, arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Result and error of a call, in a thread, since an endless loop must not stop the notebook."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((function(*copy.deepcopy(arguments)), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    latest, given_up = time.process_time() + SECONDS, time.monotonic() + 12 * SECONDS
    thread.start()
    while thread.is_alive() and time.process_time() < latest and time.monotonic() < given_up:
        thread.join(0.1)
    if not thread.is_alive():
        return outcome[0]
    # Raising SystemExit inside it is the one way to end a thread on every system.
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
    return None, TimeoutError()


def _same(got: object, expected: object, unit: float = 1) -> bool:
    """Equal; numbers to one in ten thousand, so that 1.96 may stand for 1.959964.

    Arrays, tensors, lists and tuples are alike. A number may also be `unit` times the one expected.
    """
    got, expected = _plain(got), _plain(expected)
    if isinstance(expected, dict) and isinstance(got, dict):
        pairs = [(got[key], expected[key]) for key in expected if key in got]
        return got.keys() == expected.keys() and all(_same(*pair, unit) for pair in pairs)
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        pairs = list(zip(got, expected, strict=False))
        return len(got) == len(expected) and all(_same(*pair, unit) for pair in pairs)
    if isinstance(expected, int | float) and isinstance(got, int | float):
        may_be = expected, unit * expected
        return any(math.isclose(got, one, rel_tol=1e-4, abs_tol=1e-7) for one in may_be)
    return isinstance(got, type(expected)) and got == expected


def _form(got: object, expected: object) -> str:
    """What is wrong with keys, shape, kind or unit of a result; empty if nothing is."""
    if hasattr(expected, "requires_grad") and not hasattr(got, "requires_grad"):
        return "a tensor is asked for"
    arrays = hasattr(expected, "tolist") and hasattr(got, "tolist")
    got, expected = _plain(got), _plain(expected)
    if _same(got, expected):
        return "right, but cut off from its gradient: leave out `detach`, `no_grad` and numpy"
    if isinstance(expected, dict) and isinstance(got, dict):
        lacks = ", ".join(repr(key) for key in expected if key not in got)
        extra = ", ".join(repr(key) for key in got if key not in expected)
        if lacks or extra:
            return f"it lacks {lacks}" if lacks else f"it has {extra}, which is not asked for"
    if isinstance(expected, tuple):
        if not isinstance(got, list | tuple) or len(got) != len(expected):
            return f"{len(expected)} results are asked for"
    elif isinstance(expected, list) and (arrays or isinstance(got, list | tuple)):
        shape, asked = _shape(got), _shape(expected)
        if shape != asked:
            return f"its shape is {shape}, not {asked}"
    for name, kinds in KINDS.items():
        if isinstance(expected, kinds) and not isinstance(got, kinds):
            return f"{name} is asked for"
    if _same(got, expected, unit=100):
        return "it is in percent, and a share from 0 to 1 is asked for"
    return "it is a share, and percent are asked for" if _same(got, expected, unit=0.01) else ""


def _shape(value: object) -> tuple[int, ...]:
    """Lengths from the outside in, as far as all entries have the same."""
    if not isinstance(value, list | tuple):
        return ()
    inner = {_shape(one) for one in value}
    return (len(value), *(inner.pop() if len(inner) == 1 else ()))


def _plain(value: object) -> object:
    return value.tolist() if hasattr(value, "tolist") else value


def _line(value: object, text: Callable[[object], str] = repr) -> str:
    """All of a value in one line; of a function its name, since its address says nothing."""
    said = " ".join(getattr(value, "__name__", text(value)).split())
    said = re.sub(r"np\.\w+\(([^()]*)\)", r"\1", said)  # numpy's numbers as Python's
    return re.sub(r"\d+\.\d{6,}", lambda number: f"{float(number[0]):.6g}", said)
