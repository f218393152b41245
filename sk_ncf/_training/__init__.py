"""One fit: objective, net, rules of training."""
