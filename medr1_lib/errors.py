"""The one error that bad input raises."""


class InputError(ValueError):
    """Bad input, told in one line: where it is, what is wrong, what to do.

    The command line prints the line and exits with status 2; it never shows a traceback for it.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = map(_line, (where, problem, remedy))
        super().__init__(f"{self.where}: {self.problem}; {self.remedy}")


def _line(text: object) -> str:
    """Text in one line and in UTF-8, which file names and decoders' complaints may not be."""
    return " ".join(str(text).splitlines()).encode("utf-8", "backslashreplace").decode()
