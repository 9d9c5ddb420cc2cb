"""The pure core: config and arrays in, arrays out. No files, no flags, no clocks, no logs.

In the order in which questions arise:

    state          what a run has to remember, and how it begins
    steps          one training step, many steps as one program, evaluation
    streamed       the same on batches that the host gives
    model          the net
    layers         what nets are made of
    cnn            another net, convolutional
    losses         what is minimised
    optimizer      how
    schedule       how fast
    metrics        what is counted
    probabilities  what logits say of them, whatever the loss
    augment        changed images to train on
    spec           what all these know of data
    traced         numbers that are arguments of compiled programs, for sweeps
    sharding       several devices
    kernels        work-arounds for XLA
    lookup         what names in a config stand for
    own_code       checks of code of one's own
"""
