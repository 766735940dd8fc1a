"""Chapter 11: the share of false claims, and the cases that check its exercises."""

from collections.abc import Mapping, Sequence

from medr1_lib.course.exercise import Case


def hallucination_rate(
    claims: Sequence[Sequence[tuple[str, str]]], scenes: Sequence[Mapping[str, str]]
) -> float | None:
    """Share of all claims that are false of their scene, one scene for each answer.

    None if nothing is claimed.
    """
    pairs = zip(claims, scenes, strict=True)
    false = [s[name] != value for made, s in pairs for name, value in made]
    return sum(false) / len(false) if false else None


CT, LEFT, MILD = ("modality", "CT"), ("place", "left"), ("grade", "mild")
SCENE = dict([CT, LEFT, MILD])
SEVERE = SCENE | {"grade": "severe"}

CASES = {
    "medr1_lib.analysis.stats:holm": (
        Case(([0.01, 0.5],), "the smallest is multiplied by 2, the next by 1"),
        Case(([0.01, 0.02, 0.03],), "what a larger p becomes is never less than a smaller one's"),
        Case(([0.04, 0.01, 0.02],), "the values come back in the order in which they came"),
        Case(([0.6, 0.7, 0.8],), "a probability is at most 1"),
    ),
    "medr1_lib.analysis.rationale:claimed": (
        Case(("finding: mass",), "one claim, as (attribute, value), and nothing else"),
        Case(("CT, head, finding: mass",), "a value alone is a claim, see `KNOWN`"),
        Case(("not a mass, finding: abscess",), "a rejection is no claim, it is the rest"),
        Case(("finding: abscess, grade: B",), "B is no value, so this part claims nothing"),
        Case(("impression: mass",), "no attribute has this name, so it claims nothing"),
        Case(("finding: head",), "the value of another attribute makes a claim, and a false one"),
        Case(("",), "an empty part is neither a claim nor a rest"),
    ),
    "medr1_lib.course.chapters.chapter_11:hallucination_rate": (
        Case(([[CT, MILD]], [SEVERE]), "one of two claims is false"),
        Case(([[MILD], [CT, LEFT, MILD]], [SEVERE, SCENE]), "every claim counts once"),
        Case(([[MILD, LEFT], []], [SEVERE, {}]), "an answer without claims adds nothing"),
        Case(([[], []], [{}, {}]), "where nothing is claimed there is no share of it"),
    ),
}
