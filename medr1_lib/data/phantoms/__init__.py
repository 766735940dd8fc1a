"""PhantomMedVQA's pictures: drawings that look like medical images and know what they show."""

from medr1_lib.data.phantoms.draw import draw
from medr1_lib.data.phantoms.scene import (
    ACQUISITIONS,
    ANATOMIES,
    FINDINGS,
    GRADES,
    PLACES,
    PRIMITIVES,
    SCANNERS,
    Scene,
    random_scene,
    vocabulary,
)
