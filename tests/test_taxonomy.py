import pytest

from medr1_lib.data.taxonomy import MODALITIES, QUESTION_TYPES, modality, question_type
from medr1_lib.errors import InputError

# the names of Med-R1's files and OmniMedVQA's `modality_type`, letter by letter
RELEASED = {
    "CT(Computed Tomography)": "CT",
    "Dermoscopy": "Dermoscopy",
    "Fundus Photography": "Fundus Photography",
    "MR (Mag-netic Resonance Imaging)": "MRI",
    "Microscopy Images": "Microscopy",
    "OCT (Optical Coherence Tomography": "OCT",
    "X-Ray": "X-Ray",
    "ultrasound": "Ultrasound",
    "unknown": "unknown",
}
SHORT = {
    "CT": "CT",
    "MRI": "MRI",
    "US": "Ultrasound",
    "Der": "Dermoscopy",
    "FP": "Fundus Photography",
}


@pytest.mark.parametrize(("name", "expected"), [*RELEASED.items(), *SHORT.items()])
def test_every_real_spelling_of_a_modality(name, expected):
    assert modality(name) == expected


@pytest.mark.parametrize("name", MODALITIES)
def test_a_canonical_modality_is_its_own_name(name):
    assert modality(name) == modality(name.lower()) == modality(name.upper()) == name


@pytest.mark.parametrize("name", QUESTION_TYPES)
def test_a_question_type_by_its_name_and_initials(name):
    initials = "".join(word[0] for word in name.split())
    assert question_type(name) == question_type(name.lower()) == question_type(initials) == name


@pytest.mark.parametrize(("ask", "name"), [(modality, "Endoscopy"), (question_type, "Prognosis")])
def test_another_name_is_refused_with_the_known_ones(ask, name):
    with pytest.raises(InputError, match=f"'{name}' is not a known .*; use one of"):
        ask(name)
