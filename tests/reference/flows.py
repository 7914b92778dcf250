"""Flows in NumPy, written from the formulas: loops over images and places, ``[b, c, h, w]``."""

import numpy as np


def softplus(y):
    return np.logaddexp(0, y)


def squeeze(x):
    b, c, h, w = x.shape
    out = np.zeros((b, 4 * c, h // 2, w // 2))
    for k in range(c):
        for dy in range(2):
            for dx in range(2):
                out[:, 4 * k + 2 * dy + dx] = x[:, k, dy::2, dx::2]
    return out


def unsqueeze(x):
    b, c, h, w = x.shape
    out = np.zeros((b, c // 4, 2 * h, 2 * w))
    for k in range(c // 4):
        for dy in range(2):
            for dx in range(2):
                out[:, k, dy::2, dx::2] = x[:, 4 * k + 2 * dy + dx]
    return out


def conv(x, weight):
    reach = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))
    return np.einsum("bihwyx,oiyx->bohw", windows, weight)


def channels(v):
    return v.reshape(1, -1, 1, 1)


def net(x, w, prefix):
    for name in ("in", "mid"):
        x = conv(x, w[f"{prefix}{name}_conv.weight"]) + channels(w[f"{prefix}{name}_norm.bias"])
        x = np.maximum(x * np.exp(channels(w[f"{prefix}{name}_norm.logs"])), 0)
    x = conv(x, w[f"{prefix}out_conv.weight"]) + channels(w[f"{prefix}out_conv.bias"])
    return x * np.exp(3 * channels(w[f"{prefix}logs"]))


def step(x, w, prefix):
    """ActNorm, 1 x 1 convolution, coupling; the log-determinant of each image."""
    places = x.shape[2] * x.shape[3]
    logs, weight = w[f"{prefix}norm.logs"], w[f"{prefix}conv.weight"]
    x = (x + channels(w[f"{prefix}norm.bias"])) * np.exp(channels(logs))
    x = np.einsum("oi,bihw->bohw", weight, x)
    fixed = places * (logs.sum() + np.linalg.slogdet(weight)[1])
    y, log_det = coupling(x, w, f"{prefix}coup.")
    return y, fixed + log_det


def coupling(x, w, prefix=""):
    half = x.shape[1] // 2
    out = net(x[:, half:], w, f"{prefix}nn.")
    s, t = channels(w[f"{prefix}scale"]) * np.tanh(out[:, ::2]), out[:, 1::2]
    y = np.concatenate([(x[:, :half] + t) * np.exp(s), x[:, half:]], 1)
    return y, s.sum((1, 2, 3))


def steps(x, w, prefix, count):
    total = np.zeros(len(x))
    for k in range(count):
        x, log_det = step(x, w, f"{prefix}steps.{k}.")
        total += log_det
    return x, total


def level(x, w, prefix, levels, count):
    x, total = steps(x, w, prefix, count)
    if levels > 1:
        x = squeeze(x)
        half = x.shape[1] // 2
        first, below = level(x[:, :half], w, f"{prefix}next.", levels - 1, count)
        x, total = unsqueeze(np.concatenate([first, x[:, half:]], 1)), total + below
    return x, total


def encode(x, noise, w, levels, count):
    """Latents and log-determinants as in the released code."""
    inside = 0.9 * ((255 * x + noise) / 256 - 0.5) + 0.5
    y = np.log(inside) - np.log(1 - inside)
    before = (softplus(y) + softplus(-y) - softplus(np.log(0.1) - np.log(0.9))).sum((1, 2, 3))
    z, log_det = level(squeeze(y), w, "flows.", levels, count)
    return unsqueeze(z), before + log_det


def random_glow(rng, in_channels, width, levels, count):
    """Weights by the names of the released code; none is zero or one."""
    w, prefix, c = {}, "flows.", 4 * in_channels
    for _ in range(levels):
        for k in range(count):
            own = f"{prefix}steps.{k}."
            w[f"{own}norm.bias"] = rng.normal(size=(1, c, 1, 1))
            w[f"{own}norm.logs"] = rng.normal(0, 0.2, (1, c, 1, 1))
            w[f"{own}conv.weight"] = np.linalg.qr(rng.normal(size=(c, c)))[0] * 1.1
            w[f"{own}coup.scale"] = rng.normal(1, 0.2, (c // 2, 1, 1))
            nn = f"{own}coup.nn."
            w[f"{nn}logs"] = rng.normal(0, 0.1, (c, 1, 1))
            shapes = {"in": (width, c // 2, 3, 3), "mid": (width, width, 1, 1)}
            for name, shape in shapes.items():
                w[f"{nn}{name}_conv.weight"] = rng.normal(0, 0.2, shape)
                w[f"{nn}{name}_norm.bias"] = rng.normal(0, 0.2, (1, width, 1, 1))
                w[f"{nn}{name}_norm.logs"] = rng.normal(0, 0.2, (1, width, 1, 1))
            w[f"{nn}out_conv.weight"] = rng.normal(0, 0.1, (c, width, 3, 3))
            w[f"{nn}out_conv.bias"] = rng.normal(0, 0.1, c)
        prefix, c = f"{prefix}next.", 2 * c
    return w


def freia(x, condition, w, clamp=2.0):
    """A conditional block: both halves change; outputs and log-determinants."""

    def subnet(v, name):
        v = np.concatenate([v, condition], 1) @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"]
        return np.maximum(v, 0) @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]

    half = x.shape[1] // 2
    x1, x2 = x[:, :half], x[:, half:]
    out = subnet(x2, "subnet2")
    s2 = clamp * 0.636 * np.arctan(out[:, :half])
    y1 = np.exp(s2) * x1 + out[:, half:]
    out = subnet(y1, "subnet1")
    other = x.shape[1] - half
    s1 = clamp * 0.636 * np.arctan(out[:, :other])
    y2 = np.exp(s1) * x2 + out[:, other:]
    return np.concatenate([y1, y2], 1), s1.sum(1) + s2.sum(1)


def project(delta, radius, norm):
    out = delta.copy()
    for i, row in enumerate(delta):
        if norm == "linf":
            out[i] = np.clip(row, -radius, radius)
        else:
            length = np.sqrt((row**2).sum())
            out[i] = row * min(1, radius / length) if length else row
    return out
