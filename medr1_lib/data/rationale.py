"""Rationales about phantoms: writing a true one, and reading the claims of any."""

from medr1_lib.data.phantoms import Scene


def rationale(scene: Scene, attribute: str) -> str:
    """The true rationale of an answer: what the image shows, last the attribute asked about.

    Example:
        >>> head = Scene("CT", "head", "mass", "mild", "upper left", "bone window", "scanner 1", 7)
        >>> rationale(head, "finding")
        'CT, head, finding: mass'
        >>> rationale(head, "anatomy")
        'CT, anatomy: head'
    """
    seen = [scene.modality, *([] if attribute == "anatomy" else [scene.anatomy])]
    return ", ".join([*seen, f"{attribute}: {getattr(scene, attribute)}"])


def claims(text: str) -> dict[str, str]:
    """The value that a text gives for each attribute it names, in parts `attribute: value`.

    Built in chapter 02.

    Example:
        >>> claims("CT, head, finding: mass")
        {'finding': 'mass'}
    """
    parts = (part.partition(": ") for part in text.split(", "))
    return {name: value for name, colon, value in parts if colon}
