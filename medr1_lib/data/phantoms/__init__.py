"""PhantomMedVQA's pictures: drawings that know what they show, medical and everyday."""

from medr1_lib.data.phantoms.draw import draw
from medr1_lib.data.phantoms.scene import EVERYDAY, SCANNERS, Scene, random_scene, vocabulary
