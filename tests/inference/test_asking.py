"""A net that is asked from Python, with arrays and with files."""

import numpy as np
import pytest
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.errors import RunError, UsageError


def test_arrays_give_the_probabilities_of_the_classes(net, test_split):
  images = test_split.images[:20]
  probabilities = inference.predict_images(net, images)
  np.testing.assert_array_equal(probabilities, net.probabilities(net.logits(images)))
  np.testing.assert_array_equal(inference.predict_images(net, images[..., 0]), probabilities)
  committee = inference.Committee((net, net))
  np.testing.assert_allclose(inference.predict_images(committee, images), probabilities, rtol=1e-6)


def test_no_images_have_no_probabilities(net):
  empty = np.zeros((0, 28, 28, 1), np.uint8)
  for some in (net, inference.Committee((net, net))):
    assert inference.predict_images(some, empty).shape == (0, 10)


def test_a_folder_is_no_net(net, tmp_path):
  for ask in (inference.predict_images, inference.predict_files):
    with pytest.raises(UsageError, match="the net is 'runs/adam', but must be what load_run or"):
      ask("runs/adam", [])


@pytest.mark.parametrize(
  ("images", "said"),
  [
    (np.zeros((2, 28, 28, 1), np.float32), "float32 [2, 28, 28, 1]"),
    (np.zeros((2, 28, 28, 3), np.uint8), "uint8 [2, 28, 28, 3]"),
    (np.zeros((28, 28), np.uint8), "uint8 [28, 28]"),
    ([], "float64 [0]"),
  ],
)
def test_other_arrays_are_refused_in_a_sentence(net, images, said):
  with pytest.raises(UsageError) as caught:
    inference.predict_images(net, images)
  assert str(caught.value) == f"the images are {said}, but the net takes uint8 [N, 28, 28, 1]"


def test_files_give_what_the_command_says(net, test_split, tmp_path):
  paths = [tmp_path / f"{index}.png" for index in range(3)]
  for path, image in zip(paths, test_split.images, strict=False):
    Image.fromarray(255 - image[..., 0]).resize((90, 90)).save(path)
  prepared = [inference.prepare(inference.load_picture(path)) for path in paths]
  assert inference.predict_files(net, paths) == inference.classify(net, prepared)
  assert inference.predict_files(net, map(str, paths)) == inference.classify(net, prepared)
  for path in (paths[0], str(paths[0])):
    assert inference.predict_files(net, path) == inference.classify(net, prepared[:1])


def test_a_file_that_cannot_be_read_is_named(net, tmp_path):
  (tmp_path / "a.png").write_text("no picture")
  with pytest.raises(RunError, match=r"a\.png"):
    inference.predict_files(net, [tmp_path / "a.png"])
