"""The pure core: config and arrays in, arrays out. No files, no flags, no clocks, no logs.

In the order in which questions arise:

    state          what a run has to remember, and how it begins
    steps          one training step, many steps as one program, evaluation
    model          the net
    losses         what is minimised
    optimizer      how
    metrics        what is counted
    probabilities  what logits say of them, whatever the loss
    augment        changed images to train on
    spec           what all these know of data
    traced         numbers that are arguments of compiled programs, for sweeps
    sharding       several devices
    kernels        work-arounds for XLA
"""
