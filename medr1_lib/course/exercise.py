"""Exercises that check themselves: wrong, unsolved or endless, the chapter always goes on."""

import copy
import ctypes
import math
import pkgutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 5.0  # the longest that one call of a student's function may take

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

    Example:
        >>> square = Exercise("math:fabs", (Case((-2,), "distances have no sign"),))
        >>> square(lambda x: x)(-3)
        fabs: not right yet. fabs(-2) gives -2, not 2.0: distances have no sign. \
Going on with the library's version.
        3.0
    """

    library: str  # the library's function as `module:name`, loaded only when the check runs
    cases: tuple[Case, ...]  # from the plainest to the subtlest; the first that fails is told

    def __call__(self, theirs: Function) -> Function:
        """Print in one line what is wrong, if anything, and return the function to go on with."""
        ours: Function = pkgutil.resolve_name(self.library)
        if theirs is ours:
            problem = "this is the library's version already, run the cell with yours again"
        elif not callable(theirs):
            problem = f"not right yet. It should be a function, not {_short(theirs)}"
        else:
            problems = (_problem(theirs, ours, case) for case in self.cases)
            problem = next((found for found in problems if found), "")
        if problem:
            print(f"{ours.__name__}: {problem}. Going on with the library's version.")
            return ours
        count = len(self.cases)
        print(f"{ours.__name__}: right in {count} of {count} cases. Going on with yours.")
        return theirs


def _problem(theirs: Function, ours: Function, case: Case) -> str:
    """Why `theirs` fails this case, in one line; empty if it does not."""
    expected = ours(*copy.deepcopy(case.arguments))
    got, error = _outcome(theirs, case.arguments)
    call = f"{ours.__name__}({', '.join(map(_short, case.arguments))})"
    if got is ... or isinstance(error, NotImplementedError):
        return "not solved yet"
    if isinstance(error, TimeoutError):
        return f"not right yet. {call} has not returned after {SECONDS:g} s: does its loop end?"
    if error:
        return f"not right yet. {call} raises {type(error).__name__}: {_short(error, str)}"
    if _same(got, expected):
        return ""
    if got is None:
        return f"not right yet. {call} gives None: does every way through it end in `return`?"
    return f"not right yet. {call} gives {_short(got)}, not {_short(expected)}: {case.missed}"


def _outcome(function: Function, arguments: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    """Result and error of a call, in a thread, since an endless loop must not stop the notebook."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            outcome.append((function(*copy.deepcopy(arguments)), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if not thread.is_alive():
        return outcome[0]
    # Raising SystemExit inside it is the one way to end a thread on every system.
    ident = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
    return None, TimeoutError()


def _same(got: object, expected: object) -> bool:
    """Equal, with numbers to float32 precision and arrays, tensors, lists and tuples alike."""
    got, expected = (x.tolist() if hasattr(x, "tolist") else x for x in (got, expected))
    if isinstance(expected, dict) and isinstance(got, dict):
        return got.keys() == expected.keys() and all(_same(got[key], expected[key]) for key in got)
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        return len(got) == len(expected) and all(map(_same, got, expected))
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return math.isclose(got, expected, rel_tol=1e-5, abs_tol=1e-7)
    return isinstance(got, type(expected)) and got == expected


def _short(value: object, text: Callable[[object], str] = repr, width: int = 70) -> str:
    line = " ".join(text(value).split())
    return line if len(line) <= width else line[: width - 3] + "..."
