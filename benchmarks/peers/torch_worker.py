"""The same network and the same step in PyTorch: eager, channels last, `torch.compile`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import protocol
import torch
import torch.nn.functional as F

# Settings of the job's "precision". Convolutions and products use TF32 only on request.
DTYPES = {"float32": None, "tf32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Network(torch.nn.Module):
    """The exported graph, `[N, C, H, W] -> [N, classes]`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        graph = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        self.nodes, self.last = graph["nodes"], graph["output"]
        self.keys = {}
        kinds = {node["name"]: node["kind"] for node in self.nodes}
        with np.load(folder / "weights.npz") as arrays:
            for number, (key, stored) in enumerate(arrays.items()):
                array = stored
                name, _, part = key.rpartition("/")
                if part == "kernel" and array.ndim == 4:
                    if kinds[name] == "depthwise":  # [h, w, C, M] -> [C * M, 1, h, w]
                        array = array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2])
                    else:  # [h, w, in, out] -> [out, in, h, w]
                        array = array.transpose(3, 2, 0, 1)
                elif part == "kernel":
                    array = array.T
                self.keys[key] = f"w{number}"
                self.register_buffer(f"w{number}", torch.from_numpy(np.ascontiguousarray(array)))

    def weight(self, node, part):
        key = f"{node['name']}/{part}"
        return getattr(self, self.keys[key]) if key in self.keys else None

    def forward(self, images):
        values = {}
        for node in self.nodes:
            given = [values[name] for name in node["inputs"]] or [images]
            values[node["name"]] = self.apply_node(node, given)
        return values[self.last]

    def apply_node(self, node, given):
        kind, x = node["kind"], given[0]
        if kind in ("conv", "depthwise"):
            groups = x.shape[1] if kind == "depthwise" else 1
            x, padding = padded(x, node["padding"])
            x = F.conv2d(
                x, self.weight(node, "kernel"), self.weight(node, "bias"), node["strides"],
                padding, groups=groups,
            )  # fmt: skip
            return activated(x, node["activation"])
        if kind == "dense":
            x = F.linear(x, self.weight(node, "kernel"), self.weight(node, "bias"))
            return activated(x, node["activation"])
        if kind == "batch_norm":
            parts = [self.weight(node, part) for part in ("mean", "variance", "gamma", "beta")]
            return F.batch_norm(x, *parts, training=False, eps=node["epsilon"])
        if kind == "activation":
            return activated(x, node["activation"])
        if kind == "pad":
            (top, bottom), (left, right) = node["padding"]
            return F.pad(x, (left, right, top, bottom))
        if kind == "max_pool":
            x, padding = padded(x, node["padding"], value=-float("inf"))
            return F.max_pool2d(x, node["size"], node["strides"], padding)
        if kind == "average_pool":
            return F.avg_pool2d(x, node["size"], node["strides"])
        if kind == "mean":
            return x.mean((2, 3))
        if kind == "flatten":  # in Keras' order: channels last
            return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
        if kind == "add":
            return sum(given[1:], x)
        if kind == "concatenate":
            return torch.cat(given, 1)
        if kind == "affine":
            return x * node["scale"] + node["offset"]
        assert kind == "identity", kind
        return x


def padded(x, padding, value=0.0):
    """Uneven padding, made by hand. The operation does the rest."""
    (top, bottom), (left, right) = padding
    if top == bottom and left == right:
        return x, (top, left)
    return F.pad(x, (left, right, top, bottom), value=value), (0, 0)


def activated(x, name):
    return {"linear": lambda x: x, "relu": F.relu, "relu6": F.relu6}[name](x)


def build(job):
    torch.manual_seed(0)
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    device = torch.device("cuda" if job["device"].startswith("GPU") else "cpu")
    precision = job["precision"]
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    network = Network(Path(job["folder"])).eval().requires_grad_(False).to(device)
    probe = np.load(Path(job["folder"]) / "probe.npy")
    with torch.no_grad():
        logits = network(torch.from_numpy(probe.transpose(0, 3, 1, 2).copy()).to(device))
    info = {
        "versions": {"torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "logits": logits.cpu().double().numpy().tolist(),
        "device": torch.cuda.get_device_name(0) if device.type == "cuda" else "cpu",
    }
    eager = runner(job, network, device, lambda step: step, torch.contiguous_format)
    runs = {"eager": eager}
    if device.type == "cpu" or job["channels_last"]:
        last = Network(Path(job["folder"])).eval().requires_grad_(False).to(device)
        last = last.to(memory_format=torch.channels_last)
        runs["eager, channels last"] = runner(
            job, last, device, lambda step: step, torch.channels_last
        )
        if job["compile"]:
            runs["compiled, channels last"] = runner(
                job, last, device, torch.compile, torch.channels_last
            )
    elif job["compile"]:
        runs["compiled"] = runner(job, network, device, torch.compile, torch.contiguous_format)
    return {"runs": runs, "info": info}


def runner(job, network, device, compiled, memory_format):
    """A loop in the usual style of PyTorch: autograd on the image, `torch.optim.Adam`, clamp."""
    low, high, batch = job["low"], job["high"], job["batch"]
    draws = np.random.default_rng(0)
    shape = [batch, *job["shape"]]
    first = low + (high - low) * draws.uniform(0.45, 0.55, shape)
    first = torch.tensor(first.transpose(0, 3, 1, 2), dtype=torch.float32, device=device)
    images = first.contiguous(memory_format=memory_format).requires_grad_()
    targets = torch.tensor(job["targets"], device=device)
    rows = torch.arange(batch, device=device)
    rate = job["learning_rate"] * (high - low)
    optimizer = torch.optim.Adam([images], lr=rate)
    values = float(np.prod(shape[1:]))
    dtype = DTYPES[job["precision"]]

    def objective(images, down, right):
        shifted = torch.roll(images, (down, right), (2, 3))
        with torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            scores = network(shifted)[rows, targets].float()
        variation = (images[:, :, 1:] - images[:, :, :-1]).abs().sum((1, 2, 3))
        variation = variation + (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().sum((1, 2, 3))
        penalty = job["total_variation"] * variation / values
        penalty = penalty + job["l2"] * images.square().mean((1, 2, 3))
        return (penalty - scores).sum(), scores.detach()

    objective = compiled(objective)

    def run(steps):
        for _ in range(steps):
            down, right = (int(s) for s in draws.integers(-job["jitter"], job["jitter"] + 1, 2))
            optimizer.zero_grad(set_to_none=True)
            loss, scores = objective(images, down, right)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                images.clamp_(low, high)
        return scores.cpu().numpy(), images.detach().cpu().numpy()

    return run


if __name__ == "__main__":
    sys.exit(protocol.serve(build))
