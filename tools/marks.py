"""Pages that quote what is recorded, each text between two marks: `<!-- base -->` and its end."""


def put(page: str, name: str, text: str) -> str:
    """The page with a text in the place between the marks of that name.

    Raises a `ValueError` if the page has no such place, or several.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    if not page.count(begin) == page.count(end) == 1:
        raise ValueError(f"{page.count(begin)} places for {name}")
    before, _, rest = page.partition(begin)
    lines = f"{text.strip()}\n" if text.strip() else ""
    return before + begin + lines + end + rest.partition(end)[2]
