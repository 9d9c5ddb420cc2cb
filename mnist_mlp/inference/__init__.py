"""Using what was trained: a run's net, or a committee of several, on pictures and on datasets.

    from mnist_mlp import inference
    net = inference.load_nets(["runs/adam"])
    prepare = inference.preparer(net, inference.way_of(net))
    picture = prepare(inference.load_picture("seven.jpg"), "seven.jpg")
    [prediction] = inference.classify(net, [picture])

`load_picture` is that of `data.pictures`: a net sees what training would have seen.

What each module answers:

    nets         a run's net as one of its checkpoints holds it, and committees
    ways         which way pictures go to a net: NIST's, or that of own files in training
    predictions  what a net says of pictures
    asking       arrays and files in, for Python and notebooks
    evaluation   what a net says of a split of a dataset, and how good that is in numbers
    datasets     the data that a net is evaluated on, wherever they lie now
    report       an evaluation as text, JSON and figures
    pictures     a picture of a digit -> what MNIST would have made of it, by way of:
    brightness     a picture of any mode -> the brightness of its pixels
    ink            brightness -> ink
    lines          ink -> ink without ruled lines and frames
    pieces         connected pieces of ink -> the digits that they form
    fitting        a digit's ink -> an image as MNIST's are
    pages        likewise, a picture of several digits -> each digit, line by line
    geometry       boxes and changes of size, for the modules above
    sources      files, folders and standard input -> pictures
    readings     what a net says of several digits in a picture: numbers
    display      what a net says of pictures as a table, JSON and a figure
    exporting    a net as a program that needs nothing of this package; onnx_format: in ONNX
    page         a page to draw on

Importing this package imports neither JAX nor SciPy nor Pillow. Each name imports its module when
it is used for the first time.
"""

from etils import epy

with epy.lazy_api_imports(globals()):
  from mnist_mlp.data.pictures import load_picture
  from mnist_mlp.inference.asking import predict_files, predict_images
  from mnist_mlp.inference.brightness import to_rgb
  from mnist_mlp.inference.evaluation import Evaluation, evaluate, measure
  from mnist_mlp.inference.nets import Committee, Net, load_nets, load_run
  from mnist_mlp.inference.pictures import Prepared, prepare
  from mnist_mlp.inference.predictions import Prediction, cautions, classify
  from mnist_mlp.inference.report import draw
  from mnist_mlp.inference.ways import check_takes_digits, preparer, way_of

__all__ = [
  "Committee",
  "Evaluation",
  "Net",
  "Prediction",
  "Prepared",
  "cautions",
  "check_takes_digits",
  "classify",
  "draw",
  "evaluate",
  "load_nets",
  "load_picture",
  "load_run",
  "measure",
  "predict_files",
  "predict_images",
  "prepare",
  "preparer",
  "to_rgb",
  "way_of",
]
