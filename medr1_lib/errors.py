"""The one error that bad input raises."""

from collections.abc import Iterator
from contextlib import contextmanager

DROP = "correct the record or drop it"  # what to do about a bad record


class InputError(ValueError):
    """Bad input, told in one line: where it is, what is wrong, what to do.

    Raised wherever files, folders, records or settings from outside are not sound. The command
    line prints the line and exits with status 2; it never shows a traceback for it.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = map(_line, (where, problem, remedy))
        super().__init__(f"{self.where}: {self.problem}; {self.remedy}")


@contextmanager
def refusing(where: object, problem: str, remedy: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what a library or the system raises, of these kinds or any, into an `InputError`.

    The reason stands behind the problem. An `InputError` passes as it is, and so does torch's
    `OutOfMemoryError`: a full memory is no fault of the input.
    """
    caught: tuple[type[Exception], ...] = kinds or (Exception,)
    try:
        yield
    except caught as error:
        if isinstance(error, InputError) or type(error).__name__ == "OutOfMemoryError":
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        told = f"{problem} ({reason or type(error).__name__:.300})"
        raise InputError(where, told, remedy) from error


def _line(text: object) -> str:
    """Text in one line and in UTF-8, which file names and decoders' complaints may not be."""
    return " ".join(str(text).splitlines()).encode("utf-8", "backslashreplace").decode()
