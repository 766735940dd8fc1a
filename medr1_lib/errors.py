"""The one error that bad input raises."""


class InputError(ValueError):
    """Bad input, told in one line: where it is, what is wrong, what to do.

    The command line prints the line and exits with status 2; it never shows a traceback for it.

    Args:
        where: The file, and the record inside it if there is one (`X-Ray_test.json, record 17`).
        problem: What is wrong, in the words of the input.
        remedy: What the reader can do about it.

    Example:
        >>> print(InputError("a.json, record 3", "option C is empty", "fill it or drop the record"))
        a.json, record 3: option C is empty; fill it or drop the record
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}; {remedy}")
        self.where, self.problem, self.remedy = str(where), problem, remedy
