r"""A variational autoencoder and a judge for grey images of 28 x 28 pixels.

Both are used as scikit-learn's estimators are, `Autoencoder` in the place of `PCA` and
`Judge` in that of a classifier. Images are rows of shape (n, 784) with values in [0, 1].
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def convolutions(n_out):
    """Two strided convolutions and a linear layer, (n, 784) to (n, n_out)."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        *(nn.Conv2d(1, 16, 4, 2, 1), nn.GELU()),  # (n, 16, 14, 14)
        *(nn.Conv2d(16, 32, 4, 2, 1), nn.GELU()),  # (n, 32, 7, 7)
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, n_out),
    )


def deconvolutions(n_in):
    """The way back, (n, n_in) to the logits of pixels, (n, 784)."""
    return nn.Sequential(
        nn.Linear(n_in, 32 * 7 * 7),
        *(nn.Unflatten(1, (32, 7, 7)), nn.GELU()),
        *(nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.GELU()),
        nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Flatten(),
    )


def train(net, loss, arrays, max_iter, batch_size=128, learning_rate=2e-3):
    """Adam with one cycle of the learning rate; loss(*minibatch) is minimised."""
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=max_iter
    )
    net.train()
    for _ in range(max_iter):
        rows = torch.randint(len(arrays[0]), (batch_size,))
        optimizer.zero_grad()
        loss(*(array[rows] for array in arrays)).backward()
        optimizer.step()
        schedule.step()
    net.eval()


def apply(net, rows, batch_size=1000):
    """Outputs, (n, ...) float64, of a network for an array of rows."""
    with torch.no_grad():
        parts = torch.from_numpy(np.float32(rows)).split(batch_size)
        return torch.cat([net(part) for part in parts]).double().numpy()


class Autoencoder:
    r"""Variational autoencoder; the code of an image is the mean of its posterior.

    .. math:: \min \; E_x E_{z \sim q(z | x)} [-\log p(x | z)] + KL(q(z | x), N(0, I)).

    Parameters
    ----------
    n_components : int
        Length of the code.
    max_iter : int, default=4000
        Gradient steps, of 128 images each.
    random_state : int, default=0

    References
    ----------
    D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014.
    """

    def __init__(self, n_components, *, max_iter=4000, random_state=0):
        self.n_components, self.max_iter = n_components, max_iter
        self.random_state = random_state

    def fit(self, images):
        """Train on images, shape (n, 784)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.encoder = convolutions(2 * self.n_components)
            self.decoder = deconvolutions(self.n_components)
            both = nn.ModuleList([self.encoder, self.decoder])
            data = [torch.from_numpy(np.float32(images))]
            train(both, self._loss, data, self.max_iter)
        return self

    def _loss(self, x):
        mean, log_variance = self.encoder(x).chunk(2, dim=1)  # (n, n_components)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        pixels = F.binary_cross_entropy_with_logits(
            self.decoder(z), x, reduction="none"
        )
        kl = (mean.square() + log_variance.exp() - log_variance - 1) / 2
        return (pixels.sum(1) + kl.sum(1)).mean()

    def transform(self, images):
        """Codes, shape (n, n_components)."""
        return apply(self.encoder, images)[:, : self.n_components]

    def inverse_transform(self, codes):
        """Images, shape (n, 784) in [0, 1]."""
        return apply(lambda z: self.decoder(z).sigmoid(), codes)


class Judge:
    """Names the class of an image; sees pixels, whatever code they come from.

    Parameters
    ----------
    max_iter : int, default=2000
        Gradient steps, of 128 images each.
    random_state : int, default=0
    """

    def __init__(self, *, max_iter=2000, random_state=0):
        self.max_iter, self.random_state = max_iter, random_state

    def fit(self, images, labels):
        """Train on images, shape (n, 784), of the classes 0 to 9."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            self.body = nn.Sequential(convolutions(32), nn.GELU())
            self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 10))
            net = nn.Sequential(self.body, self.head)
            data = [torch.from_numpy(np.float32(images)), torch.from_numpy(labels)]
            train(net, lambda x, y: F.cross_entropy(net(x), y), data, self.max_iter)
        return self

    def predict(self, images):
        """Classes, shape (n,)."""
        return apply(nn.Sequential(self.body, self.head), images).argmax(axis=1)

    def features(self, images):
        """What the last layer sees, shape (n, 32)."""
        return apply(self.body, images)


def frechet_distance(A, B):
    r"""Squared Wasserstein-2 distance of the normal laws with the moments of A and B.

    .. math:: |m_A - m_B|^2 + \mathrm{tr}(C_A + C_B - 2 (C_A C_B)^{1/2}).

    References
    ----------
    M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium", NeurIPS 2017.
    """
    apart = np.square(A.mean(axis=0) - B.mean(axis=0)).sum()
    C, D = np.cov(A.T), np.cov(B.T)
    # The product of two covariances has eigenvalues >= 0, up to rounding.
    root = np.sqrt(np.linalg.eigvals(C @ D).real.clip(0)).sum()
    return apart + np.trace(C) + np.trace(D) - 2 * root
