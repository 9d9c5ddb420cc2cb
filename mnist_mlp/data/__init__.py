"""Where examples come from: a TFDS dataset of pictures, or the user's own files, as uint8 arrays.

    from mnist_mlp import data
    dataset = data.load(config.data)

What each module answers:

    dataset   what a run gets: `load`, the stand-in for missing data
    held_out  which examples are held out for validation
    source    what a source of data must offer, and how to add one
    tfds      the source that TFDS knows by name
    digits    the embedded dataset 'digits'
    files     the source that is a folder of the user's own files
    formats   what a format of such files must offer, and how to add one
    idx       format: IDX files, as MNIST was published
    parquet   format: Parquet files
    folders   format: one folder of pictures for each class
    survey    what own pictures are like: sizes, colours, and which are for the test
    pictures  a file that holds a picture -> the picture, upright, and of one shape; predictions
              use it too
    strokes   whether images are pen strokes, as MNIST's are
    obtain    the way from a source to arrays: the cache, else prepared files, else preparing
    origin    what TFDS can prepare a dataset from, found out within seconds
    prepare   preparing with TFDS, once; the only step that needs TensorFlow
    decode    prepared files to arrays
    npy       files of arrays that may be larger than memory: written in pieces, mapped, checked
    cache     decoded arrays on disk, which later runs only map into memory
    mapped    reading from mapped files in bounded memory
    stream    blocks of batches, read by Grain while the device works
    memory    what fits in memory and on the disk
    quiet     TFDS and TensorFlow without their messages

Importing this package imports neither TFDS nor TensorFlow, JAX, Pillow, PyArrow or requests.
"""

from mnist_mlp.data.dataset import Dataset, load

__all__ = ["Dataset", "load"]
