"""skorch callbacks that control the training."""
