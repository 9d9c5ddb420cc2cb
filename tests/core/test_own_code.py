"""Nets, optimizers and losses of one's own, named by the config as 'module:attribute'."""

import sys

import jax
import numpy as np
import optax
import pytest
import small

from mnist_mlp.config import Length
from mnist_mlp.core import losses, model, optimizer, own_code
from mnist_mlp.core.lookup import lookup
from mnist_mlp.core.traced import traced
from mnist_mlp.errors import UsageError

MODULE = """
import sys

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

A_NUMBER = 7


class Net(nn.Module):
  num_classes: int
  activation: str
  features: tuple[int, ...] = (3,)
  image_shape: tuple[int, ...] = ()
  own: int = 5

  @nn.compact
  def __call__(self, images, train=False):
    x = images.reshape(len(images), -1) / 255
    return nn.Dense(self.num_classes)(nn.Dense(self.features[0] * self.own)(x))


class Narrow(Net):
  @nn.compact
  def __call__(self, images, train=False):
    return nn.Dense(2)(images.reshape(len(images), -1) / 255)


class WithoutTrain(nn.Module):
  @nn.compact
  def __call__(self, images):
    return nn.Dense(10)(images.reshape(len(images), -1) / 255)


class NoParameters(nn.Module):
  def __call__(self, images, train=False):
    return jnp.zeros((len(images), 10))


class Halved(Net):
  @nn.compact
  def __call__(self, images, train=False):
    return nn.Dense(10, param_dtype=jnp.bfloat16)(images.reshape(len(images), -1) / 255)


class ForLarger(Net):
  @nn.compact
  def __call__(self, images, train=False):
    return nn.Dense(10)(images.reshape(len(images), 28 * 28))


def needs_more(num_classes, depth):
  return Net(num_classes, depth)


def no_net(num_classes):
  return num_classes


def signs(learning_rate, b1=0.9):
  return optax.chain(optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


def counted(logits, targets):
  return logits.argmax(-1)


def talkative(logits, targets):
  raise ValueError("two\\nlines" + 300 * "x")


def misspelt(learning_rate):
  return optax.adamm(learning_rate)


def misspelt_net(num_classes):
  return nn.Dens(num_classes)


def hinge(logits, targets):
  return jax.nn.relu(1 - (2 * targets - 1) * logits).sum(-1)


def of_three(logits, targets, weights):
  return hinge(logits, targets) * weights


def of_integer_labels(logits, labels):
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def mean_hinge(logits, targets):
  return hinge(logits, targets).mean()
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
  """The module `mine` in the current folder, as for a command that is not started with -m."""
  (tmp_path / "mine.py").write_text(MODULE)
  (tmp_path / "broken.py").write_text("x = 1\ny = x / 0\n")
  (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
  (tmp_path / "unmet.py").write_text("import no_such_library\n")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr("sys.path", [path for path in sys.path if path])
  for name in ("mine", "broken", "unmet", "leaves"):
    monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model__name": "nowhere:Net"}, r"config\.model\.name is 'nowhere:Net', but there is no"),
    ({"model__name": "mine.deep:Net"}, r"there is no module 'mine.deep'"),
    ({"model__name": "mine:Nett"}, "but mine has no 'Nett'; did you mean 'Net'"),
    ({"model__name": "broken:Net"}, r"fails: .*broken\.py, line 2: ZeroDivisionError: division"),
    ({"model__name": "unmet:Net"}, "importing unmet fails: .*No module named 'no_such_library'"),
    ({"model__name": "mine:A_NUMBER"}, "which is a int, no class or function"),
    ({"model__name": "mine:needs_more"}, "needs depth; give that a default, since all that it can"),
    ({"model__name": "mine:no_net"}, "gives a int, but must give a Linen module"),
    ({"model__name": "mine:Narrow"}, r"have the shape \(2, 2\), not \(2, 10\)"),
    ({"model__name": "mine:WithoutTrain"}, "its __call__ has no argument 'train'"),
    ({"model__name": "mine:NoParameters"}, "has no parameters to train"),
    (
      {"model__name": "mine:Net", "model__dropout": 0.2},
      r"no argument 'dropout'; without it, config\.model\.dropout must be 0",
    ),
    ({"optimizer__name": "mine:no_net"}, "needs num_classes; give that a default"),
    ({"optimizer__name": "mine:A_NUMBER"}, "no class or function"),
    ({"optimizer__name": "mine:misspelt"}, r"which fails: .*mine\.py, line \d+: AttributeError: "),
    ({"model__name": "mine:misspelt_net"}, r"which fails: .*mine\.py, line \d+: AttributeError: "),
    ({"optimizer__name": "optax:identity_"}, "but optax has no 'identity_'"),
    ({"optimizer__name": "optax:constant_schedule"}, "needs value"),
    (
      {"optimizer__name": "mine:signs", "optimizer__weight_decay": 0.1},
      r"set config\.optimizer\.weight_decay to 0",
    ),
    ({"loss__name": "mine:A_NUMBER"}, "is no function"),
    (
      {"loss__name": "mine:of_three"},
      r"'mine:of_three', which fails on logits and targets, float32 \[2, 10\] both: TypeError: "
      "of_three.*missing 1 required positional argument: 'weights'",
    ),
    ({"loss__name": "mine:counted"}, "whose losses are int32, which have no gradient"),
    ({"loss__name": "mine:talkative"}, r"ValueError: two lines(x){191}\.\.\.$"),
    ({"loss__name": "leaves:loss"}, r"importing leaves fails: .*leaves\.py, line 1: SystemExit: 0"),
    ({"loss__name": "mine:of_integer_labels"}, r"fails on logits .*mine\.py, line \d+: \w+: "),
    ({"model__name": "mine:Halved"}, "whose parameter Dense_0/bias is bfloat16; parameters must"),
    (
      {"model__name": "mine:ForLarger"},
      r"which fails on two images, uint8 \[2, 8, 8, 1\]: .*mine\.py, line 51: TypeError: ",
    ),
    ({"loss__name": "mine:mean_hinge"}, r"of two examples have the shape \(\), not \(2,\)"),
  ],
)
def test_what_does_not_fit_is_one_sentence(changes, message):
  with pytest.raises(UsageError, match=message) as caught:
    own_code.check(small.config_of(**changes), small.spec())
  assert "\n" not in str(caught.value)


def test_names_of_the_package_are_not_checked():
  own_code.check(small.config_of(), small.spec())


def test_a_net_gets_as_attributes_what_they_name():
  c = small.config_of(model__name="mine:Net", model__features=(4,), model__activation="elu")
  own_code.check(c, small.spec())
  net = model.create_model(c, small.spec())
  own = (net.num_classes, net.activation, net.features, net.image_shape, net.own)
  assert own == (10, "elu", (4,), (8, 8, 1), 5)


def test_a_net_an_optimizer_and_a_loss_of_ones_own_learn_together():
  c = small.config_of(
    model__name="mine:Net",
    optimizer__name="mine:signs",
    loss__name="mine:hinge",
    optimizer__clip_norm=1.0,
    optimizer__learning_rate=0.003,
  )
  own_code.check(c, small.spec())
  first = small.create(c)
  state, before = small.train(first, 6, c)
  for _ in range(3):
    state, after = small.train(state, 6, c)
  assert after.compute()["loss"] < 0.7 * before.compute()["loss"]


def test_optimizers_of_optax_need_no_code_at_all():
  """With the config's numbers, by their names, and the schedule as the learning rate."""
  params = {"kernel": np.ones((2, 3), np.float32)}
  results = []
  for name in ("adam", "optax:adam"):
    c = small.config_of(optimizer__name=name, optimizer__b1=0.5, schedule__name="cosine")
    own_code.check(c, small.spec())
    tx = optimizer.create_optimizer(c, Length(6, 30), traced(c).hyperparameters)
    state = tx.init(params)
    for _ in range(3):
      updates, state = tx.update(jax.tree.map(np.sin, params), state, params)
    results.append(updates["kernel"])
  np.testing.assert_allclose(*results, rtol=1e-6)
  assert np.abs(results[0]).max() > 1e-3


def test_probabilities_of_an_own_loss_are_a_softmax():
  c = small.config_of(loss__name="mine:hinge")
  logits, labels = np.float32([[1, 2, 0]]), np.int32([1])
  loss = losses.per_example(c.loss, logits, labels, 0.0)
  np.testing.assert_allclose(loss, [2.0 + 0.0 + 1.0])
  assert lookup({}, "loss.name", "optax:softmax_cross_entropy") is optax.softmax_cross_entropy
