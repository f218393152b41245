"""The rules of training, each one skorch callback."""
