"""The true rationale for a phantom: what a target of supervised learning says before its letter."""

from medr1_lib.data.phantoms import Scene


def rationale(scene: Scene, attribute: str) -> str:
    """Why an answer is right: what is seen, ending with the value that was asked for.

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
    """The value that a text gives for each attribute it names. Built in chapter 02.

    Args:
        text: Parts with commas between them; those of the form `attribute: value` are claims.

    Example:
        >>> claims("CT, head, finding: mass")
        {'finding': 'mass'}
    """
    parts = (part.partition(": ") for part in text.split(", "))
    return {name: value for name, colon, value in parts if colon}
