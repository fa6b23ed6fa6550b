"""Saliency: how much each place of the brain counted for a class.

Gradient times activation, summed over the channels (HiResCAM; Draelos and Carin, arXiv 2011.08891, equation 7), at the
finer of the two feature maps. Where the classifier is linear in that map, the values sum up to the class's logit, less
its bias; Grad-CAM, which averages the gradient over all places first, would also light up places that the masked
pooling never read.
Input: image and lesion as ``DiagnoserNetwork`` takes them. Output: (80, 96, 80), cells of 8 mm, interpolated.
"""

import torch
from torch import Tensor
from torch.nn import functional

from vb_node.models.diagnoser import NETWORK_SHAPE, DiagnoserNetwork, with_mirror
from vb_node.types import Floats


def contributions(network: DiagnoserNetwork, image: Tensor, lesion: Tensor, number: int) -> Tensor:
    """Give what each cell of the finer feature map adds to the logit of a class: (20, 24, 20), below 0 too.

    As the answer, it is the mean over a head and its mirror image.
    """
    # (2, 16, 20, 24, 20)
    fine = network.features(with_mirror(image)).detach().requires_grad_()
    logits, _ = network.read(fine, with_mirror(lesion))
    (gradient,) = torch.autograd.grad(logits[:, number].sum(), fine)
    here, there = (gradient * fine.detach()).sum(dim=1).unbind()
    counted: Tensor = (here + there.flip(-1)) / 2
    return counted


def class_map(network: DiagnoserNetwork, image: Tensor, lesion: Tensor, number: int) -> Floats:
    """Give what counted for a class, 0 to 1 at its strongest place; 0 everywhere where nothing did."""
    counted = contributions(network, image, lesion, number).clamp_min(0)
    whole = functional.interpolate(counted[None, None], size=NETWORK_SHAPE, mode="trilinear")[0, 0]
    # (80, 96, 80)
    shares: Floats = (whole / whole.amax().clamp_min(1e-12)).cpu().numpy()
    return shares
