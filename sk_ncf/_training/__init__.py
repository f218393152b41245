"""One fit: data, net, callbacks, model selection and checkpoints."""
