"""A whole training job in PyTorch, for `scripts/benchmark.py`.

    python scripts/torch_job.py DATA OUT

It does what `python -m mnist_mlp.main` does with the same net: after each epoch, loss and accuracy
on validation, scalars and weight histograms for TensorBoard, a checkpoint; at the end the test
split. DATA is an .npz file of images and labels, `train_images` and so on.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from contestants import CASES, torch_net

EPOCHS, CASE = 5, CASES["adam-128"]


def main():
  data, out = np.load(sys.argv[1], allow_pickle=False), Path(sys.argv[2])
  splits = {name: load(data, name) for name in ("train", "validation", "test")}
  net, optimizer, step = torch_net(CASE)
  # TensorBoard would import TensorFlow where there is one, which takes longer than the job; a user
  # of PyTorch has none.
  sys.modules["tensorflow"] = None
  from torch.utils.tensorboard import SummaryWriter

  writer = SummaryWriter(str(out))
  for epoch in range(EPOCHS):
    total = train(splits["train"], step)
    loss, accuracy = evaluate(net, *splits["validation"])
    for name, value in {
      "train/loss": total,
      "validation/loss": loss,
      "validation/accuracy": accuracy,
    }.items():
      writer.add_scalar(name, value, epoch)
    for name, value in net.named_parameters():
      writer.add_histogram(name, value, epoch)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, out / f"{epoch}.pt")
    print(f"epoch {epoch + 1}/{EPOCHS}: {loss:.4f} {accuracy:.2%}", flush=True)
  print("test: {:.4f} {:.2%}".format(*evaluate(net, *splits["test"])))
  writer.close()


def load(data, split):
  images = torch.from_numpy(data[f"{split}_images"]).flatten(1).float() / 255
  return images, torch.from_numpy(data[f"{split}_labels"]).long()


def train(split, step):
  images, labels = split
  order, total = torch.randperm(len(labels)), torch.zeros(())
  starts = range(0, len(labels) - CASE.batch_size + 1, CASE.batch_size)
  for start in starts:
    rows = order[start : start + CASE.batch_size]
    total += step(images[rows], labels[rows]).detach()
  return total / len(starts)


@torch.no_grad()
def evaluate(net, images, labels):
  logits = net(images)
  loss = torch.nn.functional.cross_entropy(logits, labels)
  return float(loss), float((logits.argmax(-1) == labels).float().mean())


if __name__ == "__main__":
  main()
