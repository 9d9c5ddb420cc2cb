"""Whether images show pen strokes, as those of MNIST do, or anything else."""

import numpy as np

from mnist_mlp.data import mapped

_SHAPE = (28, 28, 1)  # MNIST's
_SAMPLE = 500  # images that are looked at
_LIT = 64  # of 255; a darker pixel is background
_THICK = 9  # pixels, a side of squares that no stroke covers
_MOST = 0.9  # of the images must look like pen strokes


def are_pen_strokes(images: np.ndarray) -> bool:
  """Returns whether nearly all images are light strokes amid a black background, as MNIST's are.

  Nothing is lit at the edges of such an image, and no stroke is as thick as a third of it. Clothes,
  faces and photographs of paper are no pen strokes, nor are images of another shape than 28x28x1.

  Args:
    images: uint8 [N, H, W, C], N at least 1.
  """
  if images.shape[1:] != _SHAPE:
    return False
  sample = mapped.rows(images, np.arange(0, len(images), -(-len(images) // _SAMPLE)))
  lit = sample[..., 0] >= _LIT
  inside = lit[:, 1:-1, 1:-1]
  amid = inside.any((1, 2)) & (inside.sum((1, 2)) == lit.sum((1, 2)))
  squares = np.lib.stride_tricks.sliding_window_view(lit, (_THICK, _THICK), (1, 2))
  thin = ~np.any(np.all(squares, axis=(-1, -2)), axis=(1, 2))
  return bool((amid & thin).mean() >= _MOST)
