"""The eight modalities and five question types, under every name that the real files give them."""

import functools
import re

from medr1_lib.errors import InputError

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
    "ctscan": "CT",
    "mr": "MRI",
    "mrimagneticresonanceimaging": "MRI",
    "mrmagneticresonanceimaging": "MRI",
    "magneticresonanceimaging": "MRI",
    "magneticresonanceimagingmri": "MRI",
    "xrays": "X-Ray",
    "xrayimaging": "X-Ray",
    "us": "Ultrasound",
    "ultrasoundus": "Ultrasound",
    "ultrasoundimaging": "Ultrasound",
    "der": "Dermoscopy",
    "dermoscopyder": "Dermoscopy",
    "fundus": "Fundus Photography",
    "fundusphotographyfp": "Fundus Photography",
    "fp": "Fundus Photography",
    "opticalcoherencetomography": "OCT",
    "octopticalcoherencetomography": "OCT",
    "opticalcoherencetomographyoct": "OCT",
    "micro": "Microscopy",
    "microscopymicro": "Microscopy",
    "microscopyimage": "Microscopy",
    "microscopyimages": "Microscopy",
}
_QUESTION_TYPE_ALIASES = {
    "ai": "Anatomy Identification",
    "anatomy": "Anatomy Identification",
    "dd": "Disease Diagnosis",
    "diagnosis": "Disease Diagnosis",
    "lg": "Lesion Grading",
    "grading": "Lesion Grading",
    "mr": "Modality Recognition",
    "modality": "Modality Recognition",
    "oba": "Other Biological Attributes",
    "otherbio": "Other Biological Attributes",
    "otherattributes": "Other Biological Attributes",
    "otherbiologicalattribute": "Other Biological Attributes",
}
_KINDS = {
    "modality": (MODALITIES, _MODALITY_ALIASES),
    "question type": (QUESTION_TYPES, _QUESTION_TYPE_ALIASES),
}


def modality(name: str) -> str:
    """The canonical modality behind any real spelling of it; `unknown` stays `unknown`.

    Raises:
        InputError: If the name is none of those met in OmniMedVQA or Med-R1.

    Example:
        >>> modality("OCT (Optical Coherence Tomography")
        'OCT'
    """
    return _canonical(name, "modality")


def question_type(name: str) -> str:
    """The canonical question type behind any real spelling of it; `unknown` stays `unknown`.

    Raises:
        InputError: If the name is none of those met in OmniMedVQA or Med-R1.

    Example:
        >>> question_type("anatomy identification")
        'Anatomy Identification'
    """
    return _canonical(name, "question type")


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@functools.cache  # asked once per record of a file, answered from about thirty spellings
def _canonical(name: str, kind: str) -> str:
    known, aliases = _KINDS[kind]
    table = {_key(entry): entry for entry in (*known, "unknown")} | aliases
    found = table.get(_key(name))
    if found is None:
        raise InputError(kind, f"{name!r} is not a known {kind}", f"use one of {', '.join(known)}")
    return found
