"""The eight modalities and five question types, under every name that the real files give them."""

import re

from medr1_lib.data.errors import InputError

MODALITIES = (
    "CT",
    "MRI",
    "X-Ray",
    "Ultrasound",
    "Dermoscopy",
    "Fundus Photography",
    "OCT",
    "Microscopy",
)
QUESTION_TYPES = (
    "Modality Recognition",
    "Anatomy Identification",
    "Disease Diagnosis",
    "Lesion Grading",
    "Other Biological Attributes",
)

# Spellings of OmniMedVQA's `modality_type` field and of Med-R1's file names, typos included
# ("Mag-netic", the parenthesis that never closes), reduced to letters and digits.
_MODALITY_ALIASES = {
    "ctcomputedtomography": "CT",
    "computedtomography": "CT",
    "computedtomographyct": "CT",
    "mr": "MRI",
    "mrmagneticresonanceimaging": "MRI",
    "magneticresonanceimaging": "MRI",
    "magneticresonanceimagingmri": "MRI",
    "xray": "X-Ray",
    "xrayimaging": "X-Ray",
    "us": "Ultrasound",
    "der": "Dermoscopy",
    "fundus": "Fundus Photography",
    "fp": "Fundus Photography",
    "opticalcoherencetomography": "OCT",
    "octopticalcoherencetomography": "OCT",
    "opticalcoherencetomographyoct": "OCT",
    "micro": "Microscopy",
    "microscopyimages": "Microscopy",
}
_QUESTION_TYPE_ALIASES = {
    "ai": "Anatomy Identification",
    "anatomy": "Anatomy Identification",
    "dd": "Disease Diagnosis",
    "diseasediagnosis": "Disease Diagnosis",
    "lg": "Lesion Grading",
    "mr": "Modality Recognition",
    "oba": "Other Biological Attributes",
    "otherbio": "Other Biological Attributes",
    "otherbiologicalattribute": "Other Biological Attributes",
}


def modality(name: str) -> str:
    """The canonical modality behind any real spelling of it; `unknown` stays `unknown`.

    Raises:
        InputError: If the name is none of those met in OmniMedVQA or Med-R1.

    Example:
        >>> modality("OCT (Optical Coherence Tomography")
        'OCT'
    """
    return _canonical(name, MODALITIES, _MODALITY_ALIASES, "modality")


def question_type(name: str) -> str:
    """The canonical question type behind any real spelling of it; `unknown` stays `unknown`.

    Raises:
        InputError: If the name is none of those met in OmniMedVQA or Med-R1.

    Example:
        >>> question_type("anatomy identification")
        'Anatomy Identification'
    """
    return _canonical(name, QUESTION_TYPES, _QUESTION_TYPE_ALIASES, "question type")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _canonical(name: str, known: tuple[str, ...], aliases: dict[str, str], kind: str) -> str:
    table = {_key(entry): entry for entry in (*known, "unknown")} | aliases
    found = table.get(_key(name))
    if found is None:
        raise InputError(f"{kind} {name!r}", f"not a known {kind}", f"use one of {', '.join(known)}")
    return found
