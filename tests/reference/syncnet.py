"""SyncNet's scores a second time, from the paper and the published names of its weights: loops, scipy's DCT, and
torch's functions on a dict of tensors. Shares no code with the product."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as fn
from scipy.fftpack import dct

State = dict[str, torch.Tensor]


def mfcc(samples: np.ndarray) -> np.ndarray:
    """(13, T), one frame after the other."""
    signal = np.asarray(samples, np.float64) * 32768.0
    emphasised = np.empty_like(signal)
    emphasised[0] = signal[0]
    for at in range(1, len(signal)):
        emphasised[at] = signal[at] - 0.97 * signal[at - 1]
    count = 1 if len(signal) <= 400 else 1 + int(np.ceil((len(signal) - 400) / 160))
    emphasised = np.concatenate([emphasised, np.zeros(count * 160 + 400)])

    def to_mel(hz: float) -> float:
        return 2595.0 * np.log10(1 + hz / 700.0)

    edges = [to_mel(0) + (to_mel(8000) - to_mel(0)) * step / 27 for step in range(28)]
    bins = [int(np.floor(513 * (700 * (10 ** (edge / 2595.0) - 1)) / 16000)) for edge in edges]
    bank = np.zeros((26, 257))
    for band in range(26):
        for at in range(bins[band], bins[band + 1]):
            bank[band, at] = (at - bins[band]) / (bins[band + 1] - bins[band])
        for at in range(bins[band + 1], bins[band + 2]):
            bank[band, at] = (bins[band + 2] - at) / (bins[band + 2] - bins[band + 1])
    rows = []
    for number in range(count):
        frame = emphasised[number * 160 : number * 160 + 400]
        power = np.abs(np.fft.rfft(frame, 512)) ** 2 / 512
        energy = power.sum() or np.finfo(float).eps
        bands = np.dot(bank, power)
        bands[bands == 0] = np.finfo(float).eps
        row = dct(np.log(bands), type=2, norm="ortho")[:13]
        row *= [1 + 11 * np.sin(np.pi * n / 22) for n in range(13)]
        row[0] = np.log(energy)
        rows.append(row)
    return np.array(rows).T


def random_state(seed: int) -> State:
    """Weights of the published names and shapes, random, with features of about 1."""
    made = torch.Generator().manual_seed(seed)
    state: State = {}

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(size, generator=made)
        state[f"{name}.bias"] = 0.3 * torch.randn(size, generator=made)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(size, generator=made)
        state[f"{name}.running_var"] = 0.5 + torch.rand(size, generator=made)
        state[f"{name}.num_batches_tracked"] = torch.tensor(1)

    def layer(name: str, *shape: int) -> None:
        inputs = int(np.prod(shape[1:]))
        state[f"{name}.weight"] = torch.randn(*shape, generator=made) * (2 / inputs) ** 0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=made)

    sound = {0: (64, 1, 3, 3), 4: (192, 64, 3, 3), 8: (384, 192, 3, 3), 11: (256, 384, 3, 3), 14: (256, 256, 3, 3)}
    for at, shape in {**sound, 18: (512, 256, 5, 4)}.items():
        layer(f"netcnnaud.{at}", *shape)
        norm(f"netcnnaud.{at + 1}", shape[0])
    picture = {0: (96, 3, 5, 7, 7), 4: (256, 96, 1, 5, 5), 18: (512, 256, 1, 6, 6)}
    for at, deep in {**picture, **dict.fromkeys((8, 11, 14), (256, 256, 1, 3, 3))}.items():
        layer(f"netcnnlip.{at}", *deep)
        norm(f"netcnnlip.{at + 1}", deep[0])
    for name in ("netfcaud", "netfclip"):
        layer(f"{name}.0", 512, 512)
        norm(f"{name}.1", 512)
        layer(f"{name}.3", 1024, 512)
    return state


def sound_features(state: State, columns: np.ndarray) -> torch.Tensor:
    """(1024,) of (13, 20) columns."""
    x = torch.tensor(columns, dtype=torch.float32)[None, None]
    x = fn.max_pool2d(_step(state, "netcnnaud.0", x, 1), (1, 1), (1, 1))
    x = fn.max_pool2d(_step(state, "netcnnaud.4", x, 1), (3, 3), (1, 2))
    for at in (8, 11, 14):
        x = _step(state, f"netcnnaud.{at}", x, 1)
    x = _step(state, "netcnnaud.18", fn.max_pool2d(x, (3, 3), (2, 2)), 0)
    return _dense(state, "netfcaud", x)


def picture_features(state: State, faces: np.ndarray) -> torch.Tensor:
    """(1024,) of (5, 224, 224, 3) BGR."""
    x = torch.tensor(faces.transpose(3, 0, 1, 2).copy(), dtype=torch.float32)[None]
    x = fn.max_pool3d(_step(state, "netcnnlip.0", x, 0, (1, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = fn.max_pool3d(_step(state, "netcnnlip.4", x, (0, 1, 1), (1, 2, 2)), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for at in (8, 11, 14):
        x = _step(state, f"netcnnlip.{at}", x, (0, 1, 1))
    x = _step(state, "netcnnlip.18", fn.max_pool3d(x, (1, 3, 3), (1, 2, 2)), 0)
    return _dense(state, "netfclip", x)


def distances(state: State, faces: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(windows, 31)."""
    columns = mfcc(samples)
    frames = min(len(faces), len(samples) // 640) - 5
    pictures, sounds = [], []
    for at in range(frames):
        pictures.append(picture_features(state, faces[at : at + 5]))
        sounds.append(sound_features(state, columns[:, 4 * at : 4 * at + 20]))
    away = np.zeros((frames, 31))
    for at in range(frames):
        for shift in range(31):
            other = at + shift - 15
            sound = sounds[other] if 0 <= other < frames else torch.zeros(1024)
            away[at, shift] = float(torch.sqrt(((pictures[at] - sound + 1e-6) ** 2).sum()))
    return away


def scores(away: np.ndarray) -> tuple[float, float, int]:
    """(LSE-C, LSE-D, offset in frames)."""
    means = [float(np.mean(away[:, shift])) for shift in range(31)]
    least = min(means)
    return sorted(means)[15] - least, least, 15 - means.index(least)


def _step(state: State, name: str, x: torch.Tensor, padding: object, stride: object = 1) -> torch.Tensor:
    head, _, number = name.rpartition(".")
    conv = fn.conv3d if x.ndim == 5 else fn.conv2d
    x = conv(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)  # type: ignore[arg-type]
    return _norm(state, f"{head}.{int(number) + 1}", x).clamp(min=0)


def _dense(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    x = state[f"{name}.0.weight"] @ x.reshape(512) + state[f"{name}.0.bias"]
    x = _norm(state, f"{name}.1", x[None])[0].clamp(min=0)
    return state[f"{name}.3.weight"] @ x + state[f"{name}.3.bias"]


def _norm(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    wide = (1, -1, *[1] * (x.ndim - 2))
    mean, variance = (state[f"{name}.running_{what}"].reshape(wide) for what in ("mean", "var"))
    scale, shift = (state[f"{name}.{what}"].reshape(wide) for what in ("weight", "bias"))
    return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift
