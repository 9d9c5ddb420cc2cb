"""What TFDS can prepare a dataset from, found out within seconds.

There are two places for original files: the user's folder, `config.data.manual_dir`, and the
hosts that TFDS downloads from. TFDS itself retries for minutes before it gives up on a host.
"""

import hashlib
import os
import textwrap
import threading
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path

from etils import epy

from mnist_mlp.data.source import UnavailableError
from mnist_mlp.errors import UsageError, listing
from mnist_mlp.paths import expand

with epy.lazy_imports():  # A run on cached data needs neither.
  import requests
  import tensorflow_datasets as tfds

_PROBE_SECONDS = 6.0  # the time in which the hosts of a dataset's files must answer
_SHOWN = 8  # files in an error message, at most


def find_origin(
  name: str, folder: Path, builder: "tfds.core.DatasetBuilder", manual_dir: str
) -> str:
  """Returns in words what an unprepared dataset can be prepared from.

  Args:
    name: the dataset, for messages.
    folder: the TFDS data folder, for messages.
    builder: the dataset's builder, which knows the original files.
    manual_dir: the user's folder with the original files, or '' to download them.

  Raises:
    UsageError: `manual_dir` does not hold the original files.
    UnavailableError: a file must be downloaded by hand, or a host does not offer its file.
  """
  files, by_hand = builder.url_infos or {}, builder.MANUAL_DOWNLOAD_INSTRUCTIONS
  if not (files or by_hand):
    return "what its own code holds"
  if manual_dir:
    _check_manual_files(name, expand(manual_dir), files.values())
    return f"the original files in {manual_dir}"
  problem = "they must be downloaded by hand" if by_hand else probe(files)
  if not problem:
    return f"a download of {sum(info.size for info in files.values()) / 1e6:.1f} MB"
  where = textwrap.indent(by_hand.strip(), "  ") if by_hand else _addresses(files)
  raise UnavailableError(
    f"{name} is not prepared in {folder}, and its original files cannot be had: {problem}.\n"
    f"To use {name}, set config.data.data_dir to a TFDS folder in which it is prepared; or fetch "
    "its original files into one folder, and set config.data.manual_dir to that folder:\n"
    f"{where}"
  )


def _addresses(files: "Mapping[str, tfds.download.checksums.UrlInfo]") -> str:
  """Returns a line for each file: its address, and the name that it must have if that differs."""
  lines = [
    f"  {url}" + ("" if url.endswith(f"/{info.filename or ''}") else f" as {info.filename}")
    for url, info in files.items()
  ]
  more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
  return "\n".join(lines[:_SHOWN] + more)


def _check_manual_files(
  name: str, folder: Path, files: "Iterable[tfds.download.checksums.UrlInfo]"
) -> None:
  """Raises a UsageError unless `folder` holds the files with the sizes and digests TFDS expects."""
  if not os.path.isdir(folder):
    raise UsageError(f"config.data.manual_dir is {str(folder)!r}, which is not a folder")
  for info in files:
    path = folder / (info.filename or "")
    if not os.path.isfile(path):
      raise UsageError(f"config.data.manual_dir lacks {path}, an original file of {name}")
    size = path.stat().st_size
    if size != info.size:
      raise UsageError(
        f"config.data.manual_dir: {path} is {'truncated' if size < info.size else 'too long'}: "
        f"{size} bytes, expected {int(info.size)}"
      )
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != info.checksum:
      raise UsageError(
        f"config.data.manual_dir: {path} does not have the expected SHA-256: the file is "
        f"damaged, or belongs to another dataset than {name}"
      )


def probe(urls: Iterable[str]) -> str:
  """Asks each host among `urls` for one of its files, all at once.

  Returns:
    '' if every host offers its file within _PROBE_SECONDS, else in words which do not, and why.
  """
  by_host = {urllib.parse.urlsplit(url).netloc: url for url in urls}
  problems = dict.fromkeys(by_host, f"did not answer within {_PROBE_SECONDS:g} seconds")
  # Looking up a host's name can hang beyond any timeout. Daemon threads do not delay the exit.
  threads = [
    threading.Thread(target=_probe_host, args=(host, url, problems), daemon=True)
    for host, url in by_host.items()
  ]
  deadline = time.monotonic() + _PROBE_SECONDS
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(max(0.0, deadline - time.monotonic()))
  return listing(f"{host} {problem}" for host, problem in problems.items() if problem)


def _probe_host(host: str, url: str, problems: dict[str, str]) -> None:
  """Sets the host's entry of `problems`: '' if the host offers the file."""
  try:
    with requests.get(url, stream=True, timeout=_PROBE_SECONDS) as response:
      problems[host] = "" if response.ok else f"answers {response.status_code} {response.reason}"
  except requests.RequestException as error:
    problems[host] = f"cannot be reached ({type(error).__name__})"
