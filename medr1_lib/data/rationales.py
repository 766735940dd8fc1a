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
