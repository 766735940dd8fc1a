"""Rationales about phantoms: writing a true one, and reading the claims of any."""

from itertools import chain

from medr1_lib.data.phantom_vqa import ATTRIBUTES, values
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.question import DOMAINS

# No value belongs to two attributes, so that a value alone says which of them is meant.
_MODALITIES = tuple(chain(*DOMAINS.values()))
KNOWN = dict.fromkeys(_MODALITIES, "modality") | {
    text: name
    for question_type, name in ATTRIBUTES.items()
    for modality in _MODALITIES
    for text in values(modality, question_type)
}


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
    """
    parts = (part.partition(": ") for part in text.split(", "))
    return {name: value for name, colon, value in parts if colon}


def claimed(rationale: str) -> tuple[list[tuple[str, str]], list[str]]:
    """What a rationale claims, attribute and value, and the parts of it that claim nothing.

    A claim is `attribute: value`, or the value alone; the value may be that of another attribute
    or modality, which is a false claim. Whatever else is said, a rejection ("not a mass") or an
    option's letter, is no claim about the picture. Built in chapter 11.
    """
    made, rest = [], []
    for part in filter(None, map(str.strip, rationale.split(", "))):
        said = claims(part) or {KNOWN.get(part, ""): part}
        ((name, value),) = said.items()
        if name in KNOWN.values() and value in KNOWN:
            made.append((name, value))
        else:
            rest.append(part)
    return made, rest
