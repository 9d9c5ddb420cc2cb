"""Three layers of 1024 ReLU units, elastic and affine distortions.

    python -m mnist_mlp.main --config=configs/deep.py

After Ciresan et al., "Deep, big, simple neural nets for handwritten digit recognition", 2010, with
about their distortions and a quarter of their weights; deep_big.py has their size. Their learning
rate decayed slowly over 800 epochs. Here the moving average of the weights and label smoothing do
that work. The last epochs are on images as they are. Such refinement closes the gap between
distorted images and the images that count (He et al., "Data augmentation revisited: rethinking the
distribution gap between clean and augmented data", 2019).

Tried on 10,000 held-out examples (--config.data.validation_examples=10000), one seed each:

    this recipe                                                     0.45% error
    distorted to the end (--config.augment.clean_epochs=0)          0.51%
    stronger: elastic_alpha 40, rotation 15, scale 0.15             0.46%
    stronger, distorted to the end                                  0.50%
    80 epochs, batches of 512, rate 3e-3, distorted to the end      0.55%
    like the row above, with float32 factors                        0.57%
    like the row above that, without label smoothing                0.54%

The stronger distortions were one image worse here. Their test error was known before the choice.

As a committee, five seeds have 0.38% test error, four of them 0.36%, three 0.41%. Five seeds that
were distorted to the end, in float32, have 0.39% as a committee, and 0.46 ± 0.01% each. These
committees are a few of the 10,000 images apart.

Measured, trained on all of train: 0.43 ± 0.02% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 160.0
  c.batch_size = 256
  c.eval_every_epochs = 5.0
  c.model.features = (1024, 1024, 1024)
  c.model.dtype = "bfloat16"
  c.augment.elastic_alpha = 37.0
  c.augment.elastic_sigma = 5.0
  c.augment.rotation = 12.0
  c.augment.rotation_of = (1, 7)
  c.augment.rotation_for_those = 7.5
  c.augment.scale = 0.12
  c.augment.shift = 1.0
  c.augment.clean_epochs = 20.0
  c.loss.label_smoothing = 0.1
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 2e-3
  c.optimizer.weight_decay = 2e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 2.0
  c.ema.decay = 0.9995
  return c
