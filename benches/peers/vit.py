"""The vision transformers of a comparison in PyTorch; see vit.rs. Names are timm's."""
import json
import os

import numpy as np
import protocol
import torch
import torch.nn.functional as F

BATCH, DEPTH, EPS = 16, 12, 1e-6


def numbers(seed, shape, scale):
    return torch.from_numpy(protocol.numbers(seed, shape, scale))


def images(side):
    return numbers(100, (BATCH, 3, side, side), 2.0)


def from_file(file, grid):
    """DINOv2 ViT-S/14; LayerScale becomes part of the maps before it, and positions those of grid x grid patches, as ours."""
    with open(file, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        data = f.read()
    header.pop("__metadata__", None)
    w = {}
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        dtype = {"F16": np.float16, "F32": np.float32}[tensor["dtype"]]
        numbers = np.frombuffer(data[start:end], dtype).astype(np.float32)
        w[name] = torch.from_numpy(numbers.reshape(tensor["shape"]))
    for j in range(DEPTH):
        for scale, last in (("ls1", "attn.proj"), ("ls2", "mlp.fc2")):
            gamma = w.pop(f"blocks.{j}.{scale}.gamma")
            w[f"blocks.{j}.{last}.weight"] *= gamma[:, None]
            w[f"blocks.{j}.{last}.bias"] *= gamma
    front, patches = w["pos_embed"].double().split((1, w["pos_embed"].shape[1] - 1), 1)
    patches = patches.unflatten(1, (round(patches.shape[1] ** 0.5), -1)).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, (grid, grid), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    w["pos_embed"] = torch.cat([front, patches], 1).float()
    return w


def of_formula(d, patch, grid):
    """Numbers by name, each tensor with a seed of its own."""
    shapes = {"cls_token": (1, 1, d), "pos_embed": (1, 1 + grid**2, d), "norm.weight": (d,), "norm.bias": (d,)}
    shapes |= {"patch_embed.proj.weight": (d, 3, patch, patch), "patch_embed.proj.bias": (d,)}
    for j in range(DEPTH):
        maps = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (4 * d, d), "mlp.fc2": (d, 4 * d)}
        for name, shape in ({"norm1": (d,), "norm2": (d,)} | maps).items():
            shapes |= {f"blocks.{j}.{name}.weight": shape, f"blocks.{j}.{name}.bias": shape[:1]}
    w = {name: numbers(300 + i, shapes[name], 0.07) for i, name in enumerate(sorted(shapes))}
    return {name: x + 1 if "norm" in name and name.endswith("weight") else x for name, x in w.items()}


class Vit(torch.nn.Module):
    """Features of images. Results take the place of operands that nobody needs, but where there are gradients."""

    def __init__(self, dim, patch, image):
        super().__init__()
        file = os.environ.get("PEER_WEIGHTS") if dim == 384 else None
        self.w = from_file(file, image // patch) if file else of_formula(dim, patch, image // patch)
        self.dim, self.patch, self.heads = dim, patch, dim // 64

    def linear(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name):
        return F.layer_norm(x, (self.dim,), self.w[name + ".weight"], self.w[name + ".bias"], EPS)

    def attention(self, qkv):
        batch, tokens, _ = qkv.shape
        q, k, v = qkv.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, self.dim)

    def embed(self, images):
        weight, bias = self.w["patch_embed.proj.weight"], self.w["patch_embed.proj.bias"]
        x = F.conv2d(images, weight, bias, stride=self.patch).flatten(2).transpose(1, 2)
        return torch.cat([self.w["cls_token"].expand(x.shape[0], -1, -1), x], 1) + self.w["pos_embed"]

    def block(self, x, j, add=torch.Tensor.add_, gelu=torch.ops.aten.gelu_):
        name = f"blocks.{j}."
        qkv = self.linear(self.norm(x, name + "norm1"), name + "attn.qkv")
        x = add(x, self.linear(self.attention(qkv), name + "attn.proj"))
        u = gelu(self.linear(self.norm(x, name + "norm2"), name + "mlp.fc1"))
        return add(x, self.linear(u, name + "mlp.fc2"))

    def forward(self, images):
        x = self.embed(images)
        for j in range(DEPTH):
            x = self.block(x, j)
        return self.norm(x[:, 0], "norm")
