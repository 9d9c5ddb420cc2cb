"""What fields of the config are called elsewhere, for the hint in a message about a slip."""

_SYNONYMS = {
  "seed": "random_seed rng_seed random_state prng_seed",
  "batch_size": "batch bs batchsize minibatch_size train_batch_size per_device_batch_size",
  "num_epochs": "epochs n_epochs max_epochs nb_epoch train_epochs",
  "num_steps": "steps n_steps max_steps train_steps num_train_steps iterations num_iterations",
  "eval_every_epochs": "eval_every eval_interval eval_freq evaluate_every",
  "checkpoint_every_epochs": "checkpoint_every checkpoint_interval save_every save_interval",
  "data.name": "dataset dataset_name",
  "data.files": "data_path folder root image_folder",
  "data.validation_examples": "validation_split val_split val_size validation_size num_validation",
  "augment.rotation": "rotate degrees",
  "augment.shift": "translate translation",
  "model.features": (
    "hidden hidden_size hidden_sizes hidden_dim hidden_dims hidden_layers hidden_units layers "
    "layer_sizes units width widths num_hidden"
  ),
  "model.activation": "act act_fn activation_fn nonlinearity",
  "model.dropout": "dropout_rate drop_rate dropout_prob",
  "model.norm": "normalization batch_norm batchnorm layer_norm",
  "model.init": "initializer kernel_init initialization",
  "model.dtype": "precision mixed_precision",
  "loss.label_smoothing": "smoothing label_smooth",
  "loss.l2": "l2_reg l2_penalty regularization",
  "optimizer.name": "opt optim method algorithm",
  "optimizer.learning_rate": "lr rate step_size eta base_lr init_lr peak_lr",
  "optimizer.weight_decay": "wd",
  "optimizer.momentum": "mu nesterov_momentum",
  "optimizer.b1": "beta1 beta_1",
  "optimizer.b2": "beta2 beta_2",
  "optimizer.eps": "epsilon adam_epsilon",
  "optimizer.clip_norm": (
    "clip clipnorm grad_clip clip_grad clip_grad_norm gradient_clip max_grad_norm gradient_clip_val"
  ),
  "schedule.name": "scheduler lr_schedule lr_scheduler learning_rate_schedule",
  "schedule.warmup_epochs": "warmup warm_up",
  "ema.decay": "ema_decay polyak",
}
FIELD_OF = {word: field for field, words in _SYNONYMS.items() for word in words.split()}
