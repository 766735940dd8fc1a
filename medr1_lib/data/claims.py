"""What a caption or a rationale says, as data that can be held against the truth."""


def claims(text: str) -> dict[str, str]:
    """The value that a text gives for each attribute it names. Built in chapter 02.

    Args:
        text: Parts with commas between them; those of the form `attribute: value` are claims.

    Example:
        >>> claims("CT, head, finding: mass")
        {'finding': 'mass'}
    """
    parts = (part.partition(": ") for part in text.split(", "))
    return {name: value for name, colon, value in parts if colon}
