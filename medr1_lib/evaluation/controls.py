"""Controls: the same question with a picture that cannot help, to see what the picture is worth."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from PIL import Image

from medr1_lib.errors import InputError

GREY = (128, 128, 128)


def blank(image: Image.Image) -> Image.Image:
    """A mid-grey image of the same size."""
    return Image.new("RGB", image.size, GREY)


def shuffled(image_ids: Sequence[str], modalities: Sequence[str], seed: int) -> list[int]:
    """For each item, one whose image stands in for its own: another image of the same modality.

    The images of a modality are put in a random circle and each takes the place of the next, so
    that every image is used and none stays where it was. Built in chapter 02.

    Raises:
        InputError: If a modality has only one image.

    Example:
        >>> shuffled(["a", "b", "c", "c"], ["CT", "CT", "MRI", "MRI"], seed=0)
        Traceback (most recent call last):
        medr1_lib.errors.InputError: MRI: has only one image; leave out the shuffled control
        >>> shuffled(["a", "b", "b"], ["CT", "CT", "CT"], seed=0)
        [1, 0, 0]
    """
    first: dict[str, dict[str, int]] = defaultdict(dict)  # modality, image: an item that shows it
    for item, (image, modality) in enumerate(zip(image_ids, modalities, strict=True)):
        first[modality].setdefault(image, item)
    rng = np.random.default_rng(seed)
    stand_in = {}
    for modality in sorted(first):
        images = sorted(first[modality])
        if len(images) < 2:
            raise InputError(modality, "has only one image", "leave out the shuffled control")
        circle = [images[i] for i in rng.permutation(len(images))]
        for image, other in zip(circle, circle[1:] + circle[:1], strict=True):
            stand_in[modality, image] = first[modality][other]
    return [stand_in[key] for key in zip(modalities, image_ids, strict=True)]
