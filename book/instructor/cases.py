"""An example of further cases for grading; keep your own where students do not see it.

    python -m notebooks.tools.grade SUBMISSIONS --csv grades.csv --cases book/instructor/cases.py

A key is the name of an exercise. The right result of a case is what the library's function gives,
so only the arguments are written down, and what a function has missed that fails here.
"""

from medr1_lib.course.exercise import Case

CASES = {
    "wilson": (
        Case((7, 9), "few questions, most of them right"),
        Case((1280, 1280), "all right, and many"),
    ),
    "questions_needed": (Case((0.01,), "a narrow interval"),),
    "normalise": (Case(("  X-Ray. ",), "white space and case at once"),),
    "mcnemar_p": (Case((0, 0), "nothing changed"),),
}
