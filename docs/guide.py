# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From the mathematics to the program
#
# This notebook trains a multilayer perceptron on MNIST and explains each step: first the formula,
# then the lines of this project that compute it. It imports the project and shows its real
# functions. It takes about an hour to read and two minutes to run.
#
# The text is made from `docs/guide.py` by `python scripts/guide.py`, which also runs it. Run it
# yourself in a checkout after `pip install -e '.[notebook]'`.

# %%
import inspect
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from IPython.display import Code, Markdown
from ml_collections import FrozenConfigDict

import mnist_mlp as mm
from mnist_mlp.core import layers, losses, optimizer, state, steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.spec import Examples
from mnist_mlp.run.run import spec_of

plt.rcParams.update({"figure.figsize": (7, 2.6), "axes.grid": True, "grid.alpha": 0.3})


def show(function):
  """Shows the source of a function as it stands in the project."""
  return Code(inspect.getsource(function), language="python")


# %% [markdown]
# ## The data
#
# MNIST has 60,000 training images and 10,000 test images of handwritten digits, 28 by 28 pixels,
# each a byte: 0 is background and 255 is ink. The project keeps 5,000 training images for
# validation. Where MNIST cannot be had, 8 by 8 digits of scikit-learn stand in for it. Then this
# notebook runs all the same, and its errors are larger.

# %%
config = mm.config.default()
dataset = mm.data.load(config.data)
train, validation, test = dataset.train, dataset.validation, dataset.test
Markdown(
  f"**{dataset.name}**: {train.num_examples:,} training, {validation.num_examples:,} validation "
  f"and {test.num_examples:,} test images of shape {train.images.shape[1:]}"
)

# %%
figure, axes = plt.subplots(2, 12, figsize=(9, 1.8))
for axis, image, label in zip(axes.flat, train.images, train.labels, strict=False):
  axis.imshow(image[:, :, 0], cmap="gray_r")
  axis.set_title(str(label), fontsize=9)
  axis.axis("off")

# %% [markdown]
# ## What is minimised
#
# A net is a function $f_\theta$ from an image $x$ to ten numbers, the *logits*. A loss $\ell$
# says how bad these are for an example with label $y$. We would like to minimise the expected
# loss over all digits that people will ever write. We cannot: we have only a sample. So we
# minimise the mean over the sample, the **empirical risk**
#
# $$\hat R(\theta) = \frac1N \sum_{i=1}^N \ell\big(f_\theta(x_i), y_i\big),$$
#
# and measure on images that the training never saw whether that was worth something. *Validation*
# images choose among nets; *test* images are looked at once, at the end.

# %% [markdown]
# ## The recursion of the layers
#
# A multilayer perceptron is a chain of layers. With the pixels, divided by 255, as $h_0$, hidden
# layer $k$ computes
#
# $$h_k = \varphi(h_{k-1} W_k + b_k), \qquad k = 1, \dots, L,$$
#
# and the logits are $h_L W_{L+1} + b_{L+1}$. The matrices $W_k$ and the vectors $b_k$ are the
# parameters $\theta$. The function $\varphi$ works on each number alone; here it is ReLU,
# $\max(0, x)$. Without $\varphi$ the whole chain would be one matrix.

# %%
show(layers.BaseNet.classify)

# %% [markdown]
# A Flax module holds no parameters. `init` makes them, and `apply` takes them as an argument: a
# pure function, which JAX can differentiate, compile and vectorise. By hand the recursion is four
# lines, and gives the same numbers:

# %%
spec = spec_of(config, dataset)
first = state.create_train_state(config, spec)
jax.tree.map(jnp.shape, first.params)

# %%
batch = Examples(train.images[:128], train.labels[:128])


def by_hand(params, images):
  h = images.reshape(len(images), -1).astype(jnp.float32) / 255
  *hidden, last = (params[name] for name in sorted(params))
  for layer in hidden:
    h = jax.nn.relu(h @ layer["kernel"] + layer["bias"])
  return h @ last["kernel"] + last["bias"]


logits = first.apply_fn({"params": first.params}, batch.images)
np.abs(logits - by_hand(first.params, batch.images)).max()

# %% [markdown]
# ## Three losses
#
# Let $z$ be the logits and $t$ the target: 1 for the right class, 0 for the others.
#
# - **Squared error** $\sum_c (z_c - t_c)^2$ takes the logits themselves for estimates.
# - **Binary cross-entropy** asks ten questions, one for each class. With $\sigma(z) = 1 / (1 +
#   e^{-z})$ it is $-\sum_c \left[ t_c \log \sigma(z_c) + (1 - t_c) \log (1 - \sigma(z_c)) \right]$.
# - **Softmax cross-entropy** asks one question with ten answers. With $p_c = e^{z_c} / \sum_j
#   e^{z_j}$ it is $-\log p_y = \log \sum_j e^{z_j} - z_y$.
#
# All three are in one dictionary:

# %%
Code(inspect.getsource(losses).split("def per_example")[0].split("# From")[1], language="python")

# %% [markdown]
# Computed as it is written, the last formula fails: $e^{z}$ overflows in float32 from $z = 89$
# on. The **log-sum-exp trick** takes the largest logit $m$ out: $\log \sum_j e^{z_j} = m + \log
# \sum_j e^{z_j - m}$. Now no exponent is above 0. Optax does so.

# %%
large = jnp.array([[100.0, 0.0, -100.0]])
naive = jnp.log(jnp.exp(large).sum(-1)) - large[:, 0]
stable = optax.softmax_cross_entropy_with_integer_labels(large, jnp.array([0]))
naive, stable

# %% [markdown]
# A net that has learnt nothing gives each of ten classes the probability 0.1. So its loss is near
# $\log 10 = 2.303$:

# %%
losses.per_example(config.loss, logits, batch.labels, 0.0).mean(), np.log(10)

# %% [markdown]
# ### A price on large weights
#
# To the risk one may add $\frac{\lambda}{2} \sum_k \lVert W_k \rVert^2$: **L2 regularisation**.
# Its gradient is $\lambda W_k$, so a step of plain gradient descent makes every weight a little
# smaller. For Adam that is not the same as *decoupled weight decay*, which shrinks the weights
# outside of the gradient (`optimizer.weight_decay`).

# %%
show(losses.l2_penalty)

# %% [markdown]
# ## How to begin
#
# A sum of $n$ products of independent numbers has $n$ times the variance of one. With weights
# from $N(0, 1)$ and 784 inputs $x$, the outputs of the first layer deviate from 0 by about
# $\sqrt{784 \cdot \mathbb{E}[x^2]}$. ReLU cuts off half of them, so the next layer multiplies that
# by about $\sqrt{512 / 2}$, and so on. The logits are in the
# thousands, and a softmax of such numbers is 0 or 1: the net is sure, and wrong. LeCun's rule
# draws the weights with variance $1/n$ instead, which keeps the scale. He's rule, $2/n$, makes up
# for the half that ReLU cuts off.


# %%
def config_with(**changes):
  """Returns the default config with some fields changed; __ stands for a dot."""
  changed = mm.config.default()
  changed.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
  return changed


scales = {}
for name, options in {
  "N(0, 1)": {"model__init": "normal"},
  "LeCun": {"model__init": "default"},
  "He": {"model__init": "he"},
}.items():
  c = config_with(model__features=(512,) * 6, **options)
  params = state.create_train_state(c, spec).params
  h, scales[name] = batch.images.reshape(128, -1) / 255, []
  for layer in range(6):
    h = jax.nn.relu(h @ params[f"Dense_{layer}"]["kernel"])
    scales[name].append(float(h.std()))
for name, values in scales.items():
  plt.semilogy(range(1, 7), values, "o-", label=name)
plt.xlabel("hidden layer")
plt.title("standard deviation of a hidden layer's output")
plt.legend()
plt.show()

# %% [markdown]
# The recipe `lab_tanh`, a university lab's net, shows what that costs: its weights are from
# $N(0, 0.1^2)$, it descends plainly, and at a small rate. Beside it stand the same recipe with
# LeCun's weights, whose deviation is $1/\sqrt{784} = 0.036$ in the first layer, and with $N(0, 1)$.
# The last one saturates: where tanh is 1 or -1, its slope is 0, and nothing is learnt. The recipe's
# own weights are in between. At its small rate their larger gradients even help.

# %%
curves = {}
for name, scale, init in [("0.1 N(0, 1)", 0.1, "normal"), ("LeCun", 1.0, "default"),
                          ("N(0, 1)", 1.0, "normal")]:  # fmt: skip
  c = mm.recipe("lab_tanh")
  c.model.init, c.model.init_scale = init, scale
  c.num_epochs, c.eval_every_epochs = 1.0, 0.125
  folder = Path("runs/guide", name.replace(" ", "_"))
  mm.train_and_evaluate(c, folder)
  curves[name] = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]

# %%
for name, rows in curves.items():
  plt.plot(
    [row["epoch"] for row in rows],
    [100 * (1 - row["validation/accuracy"]) for row in rows],
    ":" if name == "N(0, 1)" else "-",
    label=name,
  )
plt.xlabel("epoch")
plt.title("validation error, %")
plt.legend()
plt.show()

# %% [markdown]
# ## An order for every epoch
#
# Stochastic gradient descent takes the examples in small batches, in a new random order every
# epoch. JAX has no hidden generator: a key goes in, the same numbers come out. The project
# derives the key of every draw from the seed, the purpose of the draw, and the epoch or step, by
# `jax.random.fold_in`.

# %%
show(state.random_key)

# %%
show(steps.epoch_order)

# %%
orders = [steps.epoch_order(jnp.uint32(0), epoch, train.num_examples) for epoch in (0, 1)]
print(orders[0][:8], orders[1][:8])
assert (jnp.sort(orders[0]) == jnp.arange(train.num_examples)).all(), "each example once"

# %% [markdown]
# So nothing of the order needs saving. A run that is killed in the middle of epoch 7 computes the
# order of epoch 7 again, and goes on to the same bits.

# %% [markdown]
# ## Downhill
#
# With $g = \nabla \hat R$ of a batch, **gradient descent** steps by $\theta \leftarrow \theta -
# \eta g$. **Momentum** adds up the gradients of the past, $v \leftarrow \mu v + g$, and steps by
# $\theta \leftarrow \theta - \eta v$: it goes on where the gradients agree, and what changes sign
# cancels.
#
# **Adam** keeps two moving averages, of $g$ and of $g^2$:
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2.$$
#
# Both start at 0, and are too small at first. After $t$ steps the weights of the average sum to
# $1 - \beta^t$. So Adam divides by it, the **bias correction** $\hat m = m / (1 - \beta_1^t)$,
# $\hat v = v / (1 - \beta_2^t)$, and steps by
#
# $$\theta \leftarrow \theta - \eta \, \frac{\hat m}{\sqrt{\hat v} + \epsilon}.$$
#
# Here it is by hand, beside Optax, for a few gradients:


# %%
@jax.jit
def corrected(average, decay, t):
  return average / (1 - decay**t)


def adam_by_hand(gradients, rate=1e-3, b1=0.9, b2=0.999, eps=1e-8):
  """Returns the updates of Adam, one for each gradient."""
  m, v, updates = jnp.zeros(5), jnp.zeros(5), []
  for t, g in enumerate(gradients, start=1):
    m = (1 - b1) * g + b1 * m
    v = (1 - b2) * g**2 + b2 * v
    updates.append(-rate * (corrected(m, b1, t) / (jnp.sqrt(corrected(v, b2, t)) + eps)))
  return jnp.stack(updates)


def adam_of_optax(gradients):
  tx = optax.adam(1e-3)
  opt_state, updates = tx.init(jnp.zeros(5)), []
  for g in gradients:
    update, opt_state = tx.update(g, opt_state)
    updates.append(update)
  return jnp.stack(updates)


gradients = jax.random.normal(jax.random.key(0), (20, 5))
ours, theirs = adam_by_hand(gradients), adam_of_optax(gradients)
assert (ours == theirs).all(), "the same to the last bit"
ours[:2]

# %% [markdown]
# The first update is $\pm\eta$, whatever the gradient's size: $\hat m / \sqrt{\hat v} = g / |g|$.
# The project builds all its optimizers from Optax's parts:

# %%
source = inspect.getsource(optimizer)
Code(source.split("# Each optimizer")[1].split("\n}\n")[0] + "\n}", language="python")

# %% [markdown]
# ## One step, many steps, an epoch
#
# A training step is a function from state to state.

# %%
show(steps.train_step)

# %% [markdown]
# Called as it is, it runs operation by operation. `jax.jit` compiles it to one program. Still
# Python calls that program for each batch, and waits for it to be dispatched. `lax.scan` puts the
# loop into the program, and the order of the epoch, the batches and the sums of the metrics with
# it. Then a whole epoch is one call:

# %%
show(steps.train_chunk)

# %%
static = FrozenConfigDict(config)
per_epoch = train.num_examples // config.batch_size
on_device = Examples(*map(jnp.asarray, train))
jitted = jax.jit(steps.train_step, static_argnames="config")


def seconds_per_step(run, num_steps):
  """Returns the time of a step, after a first call that compiles."""
  run()
  started = time.perf_counter()
  jax.block_until_ready(run())
  return (time.perf_counter() - started) / num_steps


def call_by_call(function, num_steps):
  now = state.create_train_state(config, spec)
  order = steps.epoch_order(now.seed, 0, train.num_examples)
  for step in range(num_steps):
    rows = order[step * config.batch_size : (step + 1) * config.batch_size]
    chosen = Examples(on_device.images[rows], on_device.labels[rows])
    now, _ = function(now, chosen, config=static)
  return now


def whole_epoch():
  now = state.create_train_state(config, spec)
  length = steps.ChunkLength(1, per_epoch)
  return steps.train_chunk(now, TrainMetrics.empty(), on_device, config=static, length=length)


few = min(100, per_epoch)
times = {
  "operation by operation": seconds_per_step(lambda: call_by_call(steps.train_step, 3), 3),
  "jit, a call for each step": seconds_per_step(lambda: call_by_call(jitted, few), few),
  "scan, a call for an epoch": seconds_per_step(whole_epoch, per_epoch),
}
Markdown("\n".join(f"- {name}: {1e3 * t:.2f} ms a step" for name, t in times.items()))

# %% [markdown]
# ## Many nets at once
#
# A pure step can be vectorised. `jax.vmap` turns the program of one net into the program of many
# that differ in their numbers: seed, learning rate, dropout. The project's sweeps do so. Here are
# eight learning rates of plain descent in one program:

# %%
rates = np.float32(np.geomspace(1e-3, 3.0, 8))
small = config_with(model__features=(64,), optimizer__name="sgd")
initialize = state.initializer(small, spec)
values = jax.tree.map(jnp.asarray, state.traced(small))
static_small = FrozenConfigDict(small)


def one_epoch(rate):
  hyperparameters = {**values.hyperparameters, "learning_rate": rate}
  now = initialize(values._replace(hyperparameters=hyperparameters))
  length = steps.ChunkLength(1, per_epoch)
  now, _ = steps.train_chunk(
    now, TrainMetrics.empty(), on_device, config=static_small, length=length
  )
  return steps.evaluate(now, validation, config=static_small)


found = jax.jit(jax.vmap(one_epoch))(rates)
errors = 100 * (1 - found.accuracy.total / found.accuracy.count)
plt.semilogx(rates, errors, "o-")
plt.xlabel("learning rate")
plt.title("validation error after one epoch, %; eight nets, one program")
plt.show()

# %% [markdown]
# ## What buys the rest
#
# A plain net of this size ends at about 2% error. These are measured figures of the recipes in
# `configs/`, on all of MNIST, as mean and standard deviation over seeds. They come from
# `results/recipes.json`.

# %%
measured = json.loads(Path("results/recipes.json").read_text())["recipes"]
what = {
  "streamed": "the plain net",
  "adam": "dropout, label smoothing, weight decay, a cosine schedule",
  "dropout": "more dropout, of pixels too, a bound on the weights of a unit, longer",
  "elastic": "elastic distortions, new ones for every batch",
  "deep": "distortions, three wide layers, an average of the weights",
  "committee of 4 deep": "four such nets, whose probabilities are averaged",
}
rows = ["| recipe | what it has | test error, % | seeds |", "|---|---|---|---|"]
for name, meaning in what.items():
  found = [run["error"] for run in measured[name]["seeds"].values()]
  spread = f" ± {np.std(found, ddof=1):.2f}" if len(found) > 1 else ""
  rows.append(f"| `{name}` | {meaning} | {np.mean(found):.2f}{spread} | {len(found)} |")
Markdown("\n".join(rows))

# %% [markdown]
# Dropout removes units at random, so that no unit relies on another. Distortions make new
# examples that keep their labels. Averaging weights over time, or the answers of several nets,
# cancels what is accidental in each.

# %% [markdown]
# ## Mistakes, and how sure the net is
#
# Three epochs of the recipe `quick` give a good net in seconds. What does it get wrong?

# %%
workdir = Path("runs/guide/quick")
mm.train_and_evaluate(mm.recipe("quick"), workdir)
net = mm.load_run(workdir)
evaluation = mm.inference.evaluate(net, "test")
figures = mm.inference.draw(evaluation)
figures["worst_mistakes"]

# %%
figures["confusion_matrix"]

# %% [markdown]
# Of the images of which the net is 80% sure, it should get 80% right: then it is **calibrated**.
# Label smoothing, which this recipe has, makes a net less sure than it could be. When a run ends,
# the project fits a *temperature* on validation, by which the logits are divided (Guo et al.
# 2017). It changes no label, only how sure the net is.

# %%
figures["reliability_diagram"]

# %% [markdown]
# ## Your own handwriting
#
# MNIST's digits were cropped, fitted into 20 by 20 pixels, and centred by their mass. A
# photograph or a drawing has to go the same way. Here is a drawing, and what the net sees of it:

# %%
from PIL import Image, ImageDraw

drawing = Image.new("L", (300, 260), 240)
stroke = [(90, 60), (150, 40), (190, 75), (150, 120), (195, 165), (160, 215), (85, 205)]
ImageDraw.Draw(drawing).line(stroke, fill=30, width=16, joint="curve")
prepared = mm.inference.prepare(drawing)
(prediction,) = mm.inference.classify(net, [prepared])
figure, axes = plt.subplots(1, 2, figsize=(5, 2.4))
axes[0].imshow(drawing, cmap="gray", vmin=0, vmax=255)
axes[1].imshow(prepared.pixels[:, :, 0], cmap="gray")
for axis, title in zip(axes, ("the drawing", "what the net sees"), strict=True):
  axis.set_title(title)
  axis.axis("off")
Markdown(f"The net says **{prediction.label}** ({prediction.probabilities[prediction.label]:.0%}).")

# %% [markdown]
# `python -m mnist_mlp.predict --workdir=runs/guide/quick photo.jpg` does so for files, and
# `python -m mnist_mlp.demo --workdir=runs/guide/quick` serves a page to draw on.
#
# ## Where to go next
#
# - `configs/` has a recipe for each row of the table above, with its source.
# - `mnist_mlp/train.py` has the loop around `train_chunk`: metrics, checkpoints, signals.
# - [Sweeps](sweeps.md) has grids, random search, halving, and processes or a cluster for larger
#   nets.
# - [Make it yours](make-it-yours.md) puts your own pictures, net, metric or optimizer in.
