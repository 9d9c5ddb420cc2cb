"""What `scripts/benchmark.py` times: one epoch of the same work, by this program and by others.

    python scripts/contestants.py CONTESTANT CASE

A process of its own for each contestant: it makes ready, prints "ready", and for each line that it
reads trains one epoch and prints its seconds. The net, its optimizer, the batch size and the data
are those of the case; every epoch has a new order; pixels are in 0..1, numbers in float32.
"""

import functools
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mnist_mlp import config, data


class Case(NamedTuple):
  """Work to do."""

  features: tuple[int, ...] = (512, 512)
  batch_size: int = 128
  activation: str = "relu"
  optimizer: str = "adam"
  learning_rate: float = 1e-3
  images: int = 60_000  # MNIST's, repeated if it has fewer


CASES = {
  "adam-128": Case(),
  "adam-512": Case(batch_size=512),
  "lab_tanh": Case((1024, 1024), activation="tanh", optimizer="sgd"),
}


def training_data(case: Case) -> tuple[np.ndarray, np.ndarray]:
  """Returns uint8 [N, 28, 28, 1] and int32 [N]."""
  c = config.default()
  c.data.validation_examples, c.data.offline = 0, ""
  images, labels = data.load(c.data, report=lambda line: None).train
  rows = np.arange(case.images) % len(labels)
  return np.asarray(images)[rows], np.asarray(labels)[rows]


def floats(case: Case) -> tuple[np.ndarray, np.ndarray]:
  """Returns float32 [N, 784] in 0..1 and int32 [N]: what a user of the others would keep."""
  images, labels = training_data(case)
  return images.reshape(len(images), -1).astype(np.float32) / 255, labels


def ours(case: Case, *, xla_flags: str = "") -> Callable[[], Any]:
  """This program: an epoch is one call of `steps.train_chunk`."""
  if xla_flags:
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags}".strip()
  import jax
  from ml_collections import FrozenConfigDict

  from mnist_mlp.core import metrics, state, steps
  from mnist_mlp.core.spec import DataSpec, Examples

  c = config.default()
  c.batch_size, c.num_epochs, c.data.validation_examples = case.batch_size, 100.0, 0
  c.model.features, c.model.activation = case.features, case.activation
  c.optimizer.name, c.optimizer.learning_rate = case.optimizer, case.learning_rate
  c.schedule.name = "constant"
  train = jax.device_put(Examples(*training_data(case)))
  spec = DataSpec(image_shape=train.images.shape[1:], num_classes=10, num_train=case.images)
  now, none = state.create_train_state(c, spec), metrics.TrainMetrics.empty()
  length = steps.ChunkLength(1, case.images // case.batch_size)
  static = FrozenConfigDict(c)

  def epoch():
    nonlocal now
    now, _ = jax.block_until_ready(
      steps.train_chunk(now, none, train, config=static, length=length)
    )

  return epoch


def jax_step(case: Case) -> Callable[[], Any]:
  """As in tutorials: one jitted step for each batch, which NumPy gathers."""
  import jax
  import jax.numpy as jnp
  import optax
  from flax import linen as nn

  images, labels = floats(case)
  act = getattr(nn, case.activation)
  layers = [part for width in case.features for part in (nn.Dense(width), act)]
  net = nn.Sequential([*layers, nn.Dense(10)])
  tx = getattr(optax, case.optimizer)(case.learning_rate)
  params = net.init(jax.random.key(0), images[:1])
  opt_state = tx.init(params)

  @jax.jit
  def step(params, opt_state, x, y):
    def loss(params):
      return optax.softmax_cross_entropy_with_integer_labels(net.apply(params, x), y).mean()

    updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  order = np.random.default_rng(0)

  def epoch():
    nonlocal params, opt_state
    for rows in batches(order, case):
      params, opt_state = step(params, opt_state, jnp.asarray(images[rows]), labels[rows])
    jax.block_until_ready(params)

  return epoch


def batches(order: np.random.Generator, case: Case):
  """Yields the rows of each whole batch of an epoch."""
  size = case.batch_size
  rows = order.permutation(case.images)
  return (rows[i : i + size] for i in range(0, case.images - size + 1, size))


def torch_net(case: Case):
  """Returns (net, optimizer, step) of PyTorch; step takes a batch of images and labels."""
  import torch

  torch.manual_seed(0)
  device = torch_device()
  act = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[case.activation]
  widths = (784, *case.features)
  layers = [
    part
    for i in range(len(case.features))
    for part in (torch.nn.Linear(widths[i], widths[i + 1]), act())
  ]
  net = torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], 10)).to(device)
  optimizer = (
    torch.optim.Adam(net.parameters(), case.learning_rate, fused=True)
    if case.optimizer == "adam"
    else torch.optim.SGD(net.parameters(), case.learning_rate)
  )

  def step(x, y):
    loss = torch.nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss

  return net, optimizer, step


def torch_device() -> str:
  """Returns where PyTorch trains: on the GPU, where there is one, as JAX does."""
  import torch

  return "cuda" if torch.cuda.is_available() else "cpu"


def torch_eager(case: Case, *, flush: bool = False, compiled: bool = False) -> Callable[[], Any]:
  """PyTorch, whose optimizer is the fused one, with the data where it trains."""
  import torch

  torch.set_flush_denormal(flush)
  device = torch_device()
  images, labels = floats(case)
  images = torch.from_numpy(images).to(device)
  labels = torch.from_numpy(labels.astype(np.int64)).to(device)
  net, _, step = torch_net(case)
  if compiled:
    net.compile()

  def epoch():
    order = torch.randperm(case.images, device=device)
    for start in range(0, case.images - case.batch_size + 1, case.batch_size):
      rows = order[start : start + case.batch_size]
      step(images[rows], labels[rows])
    if device == "cuda":
      torch.cuda.synchronize()

  return epoch


def keras_on_jax(case: Case) -> Callable[[], Any]:
  """Keras 3 with its JAX backend: an epoch of `fit`."""
  os.environ["KERAS_BACKEND"] = "jax"
  import keras

  images, labels = floats(case)
  net = keras.Sequential(
    [
      keras.Input((784,)),
      *(keras.layers.Dense(width, case.activation) for width in case.features),
      keras.layers.Dense(10),
    ]
  )
  optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[case.optimizer]
  net.compile(
    optimizer(case.learning_rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  )
  return lambda: net.fit(images, labels, batch_size=case.batch_size, epochs=1, verbose=0)


def scikit_learn(case: Case) -> Callable[[], Any]:
  """scikit-learn's MLPClassifier: an epoch of `partial_fit`."""
  from sklearn.neural_network import MLPClassifier

  images, labels = floats(case)
  net = MLPClassifier(
    case.features,
    activation=case.activation,
    solver=case.optimizer,
    alpha=0.0,
    batch_size=case.batch_size,
    learning_rate_init=case.learning_rate,
    momentum=0.0,
  )
  return lambda: net.partial_fit(images, labels, classes=np.arange(10))


def products(case: Case) -> Callable[[], Any]:
  """A limit: an epoch's matrix products alone, at their own shapes, with nothing between them."""
  import jax

  widths = (784, *case.features, 10)
  keys = jax.random.split(jax.random.key(0), len(widths))
  kernels = [0.05 * jax.random.normal(keys[i], widths[i : i + 2]) for i in range(len(widths) - 1)]
  kernels[-1] = kernels[-1].T  # both of its products are faster so
  images = jax.random.uniform(keys[-1], (case.batch_size, 784))

  def one_step(kernels, _):
    inputs = [images]
    for kernel in kernels[:-1]:
      inputs.append(inputs[-1] @ kernel)
    gradient = inputs[-1] @ kernels[-1].T
    gradients = [gradient.T @ inputs[-1]]
    gradient = gradient @ kernels[-1]
    for i in reversed(range(len(kernels) - 1)):
      gradients.append(inputs[i].T @ gradient)
      if i:
        gradient = gradient @ kernels[i].T
    return gradients[::-1], None  # the next kernels: nothing else is computed, nothing unused

  run = jax.jit(
    lambda kernels: jax.lax.scan(one_step, kernels, length=case.images // case.batch_size)[0]
  )
  return lambda: jax.block_until_ready(run(kernels))


def large_product(case: Case) -> Callable[[], Any]:
  """The other limit: as much arithmetic as an epoch's, in products of 4096 x 4096."""
  import jax
  import jax.numpy as jnp

  size = 4096
  matrix = jnp.ones((size, size))
  product = jax.jit(jnp.matmul)
  count = flops(case) / (2 * size**3)

  def epoch():
    started = time.perf_counter()
    for _ in range(round(count) or 1):
      jax.block_until_ready(product(matrix, matrix))
    return (time.perf_counter() - started) * count / (round(count) or 1)

  return epoch


def flops(case: Case) -> float:
  """Returns the operations in an epoch's matrix products; the images need no gradient."""
  widths = (784, *case.features, 10)
  weights = [a * b for a, b in itertools.pairwise(widths)]
  images = case.images // case.batch_size * case.batch_size
  return 2.0 * images * (3 * sum(weights) - weights[0])


CONTESTANTS: dict[str, Callable[[Case], Callable[[], Any]]] = {
  "mnist_mlp": ours,
  "PyTorch": torch_eager,
  "PyTorch, denormals flushed": functools.partial(torch_eager, flush=True),
  "PyTorch, compiled": functools.partial(torch_eager, flush=True, compiled=True),
  "Keras on JAX": keras_on_jax,
  "scikit-learn": scikit_learn,
  "JAX, a step per NumPy batch": jax_step,
  "limit: products of these shapes": products,
  "limit: a large product": large_product,
}
# Also take part where JAX has a GPU; there, the flushing of denormals means nothing.
ON_A_GPU: dict[str, Callable[[Case], Callable[[], Any]]] = {
  "mnist_mlp, deterministic": functools.partial(ours, xla_flags="--xla_gpu_deterministic_ops=true"),
  "mnist_mlp, no command buffers": functools.partial(
    ours, xla_flags="--xla_gpu_enable_command_buffer="
  ),
}


def main() -> None:
  """Serves epochs until standard input ends."""
  name, case = sys.argv[1], Case(**json.loads(sys.argv[2]))
  epoch = (CONTESTANTS | ON_A_GPU)[name](case)
  print("ready", flush=True)
  for _ in sys.stdin:
    started = time.perf_counter()
    seconds = epoch()
    if not isinstance(seconds, float):
      seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB
    print(json.dumps({"seconds": seconds, "memory": memory}), flush=True)


if __name__ == "__main__":
  main()
