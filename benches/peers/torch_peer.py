"""PyTorch's side of a comparison (CPU, float32; ridge in float64); see cases.rs and compare. The argument is the number of
threads; with `draw` behind it passes draw as much noise as they find, and drop it: what is compared is minoise's.
Results are written into tensors that are there before, wherever PyTorch can."""
import ctypes
import math
import sys

import protocol
import torch
import torch.nn.functional as F
from vit import BATCH, DEPTH, EPS, Vit, images, numbers


def noise(modules):
    x, down, up = numbers(11, (3152, 192), 2.0), numbers(12, (192, 96), 0.2), numbers(13, (96, 192), 0.2)
    eps = [torch.from_numpy(protocol.normals(i, (3152, 96))) for i in range(modules)]
    parts = ((96, 96), (96,), (96, 96), (96,))
    phi = [[numbers(20 + 4 * i + k, s, 0.2) for k, s in enumerate(parts)] for i in range(modules)]
    w_mu, b_mu = (torch.stack([module[k] for module in phi]) for k in (0, 1))
    omega = torch.arange(1, modules + 1, dtype=torch.float32) / (modules * (modules + 1) / 2)
    weights = omega.tolist()
    h, z, sigma, drawn = (torch.empty(3152, 96) for _ in range(4))
    y = torch.empty(3152, 192)

    def forward():
        # mu of all modules is one map: as many products as modules, and one more.
        torch.mm(x, down, out=h)
        torch.addmm(omega @ b_mu, h, torch.tensordot(omega, w_mu, 1), out=z)
        for weight, noise, (_, _, w_sigma, b_sigma) in zip(weights, eps, phi):
            if "draw" in sys.argv[2:]:
                drawn.normal_()
            torch.addmm(b_sigma, h, w_sigma, out=sigma)
            z.addcmul_(noise, sigma, value=weight)
        return torch.addmm(x, z, up, out=y)

    return forward


def train():
    d, batch, tokens, heads = 192, 16, 65, 3
    seeds = iter(range(200, 300))
    weight = lambda *shape: numbers(next(seeds), shape, 0.07).requires_grad_()
    constant = lambda n, value: torch.full((n,), value, requires_grad=True)
    blocks = []
    for _ in range(4):
        qkv, projection, fc1, fc2 = weight(d, 3 * d), weight(d, d), weight(d, 4 * d), weight(4 * d, d)
        norms = [constant(d, v) for v in (1.0, 0.0, 1.0, 0.0)]
        biases = [constant(n, 0.0) for n in (3 * d, d, 4 * d, d)]
        blocks.append((norms, (qkv, projection, fc1, fc2), biases))
    head = [constant(d, 1.0), constant(d, 0.0), weight(d, 10), constant(10, 0.0)]
    parameters = [p for block in blocks for part in block for p in part] + head
    x, labels = numbers(100, (batch * tokens, d), 2.0), torch.arange(batch) % 10

    def step():
        h = x
        for (g1, b1, g2, b2), (qkv, projection, fc1, fc2), (bq, bp, c1, c2) in blocks:
            u = torch.addmm(bq, F.layer_norm(h, (d,), g1, b1, EPS), qkv)
            q, k, v = u.view(batch, tokens, 3, heads, d // heads).permute(2, 0, 3, 1, 4)
            o = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, d)
            h = h + torch.addmm(bp, o, projection)
            u = F.gelu(torch.addmm(c1, F.layer_norm(h, (d,), g2, b2, EPS), fc1))
            h = h + torch.addmm(c2, u, fc2)
        c = F.layer_norm(h, (d,), head[0], head[1], EPS).view(batch, tokens, d)[:, 0]
        loss = F.cross_entropy(torch.addmm(head[3], c, head[2]), labels)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            torch._foreach_add_(parameters, gradients, alpha=-0.05)
        return loss.detach()

    return step


class NoiseLayer:
    """Behind a block. Of two-layer maps those to mu of all but the newest module are one map, as the mixture is linear; the
    newest, which is trained, stands alone, so that no other gets a gradient."""

    def __init__(self, j, modules, dim, tokens, e=96):
        self.down = numbers(400 + 2 * j, (dim, e), 2 / math.sqrt(e))
        self.up = numbers(401 + 2 * j, (e, dim), 2 / math.sqrt(dim))
        rows = [numbers(1000 + 100 * i + j, (4 * e * (e + 1),), 0.2) for i in range(modules)]
        parts = [row.split((2 * e * e, 2 * e, 2 * e * e, 2 * e)) for row in rows]
        # W1 [e, 2, e], b1 [2, e], W2 [2, e, e], b2 [2, 1, e]; mu, then sigma.
        parts = [(w1.view(e, 2, e), b1.view(2, e), w2.view(2, e, e), b2.view(2, 1, e)) for w1, b1, w2, b2 in parts]
        self.old = modules - 1
        if self.old:
            w1, b1, w2, b2 = (torch.stack([part[k] for part in parts[:-1]]) for k in range(4))
            # Inputs first, then module by module.
            self.w1 = [w1[:, :, k].transpose(0, 1).reshape(e, -1) for k in (0, 1)]
            self.b1 = [b1[:, k].flatten() for k in (0, 1)]
            self.mu = w2[:, 0].reshape(-1, e), b2[:, 0, 0]
            self.sigma = w2[:, 1].contiguous(), b2[:, 1].contiguous()
        w1, b1, w2, b2 = parts[-1]
        self.newest = [x.clone().requires_grad_() for x in (w1.reshape(e, -1), b1.flatten(), w2, b2)]
        self.logits = numbers(500, (modules,), 1.0).requires_grad_()
        shape = (BATCH * tokens, e)
        self.eps = torch.stack([torch.from_numpy(protocol.normals(j * 65536 + i, shape)) for i in range(modules)])
        self.drawn = torch.empty_like(self.eps)

    def maps(self, g, w, b):
        """The second layers of some maps, [maps, rows, e]."""
        return torch.baddbmm(b, g.view(len(g), -1, w.shape[1]).transpose(0, 1), w)

    def __call__(self, x):
        if "draw" in sys.argv[2:]:
            self.drawn.normal_()
        h = torch.mm(x, self.down)
        old, newest = torch.softmax(self.logits, 0).split((self.old, 1))
        w1, b1, w2, b2 = self.newest
        mu, sigma = self.maps(F.gelu(torch.addmm(b1, h, w1)), w2, b2).unbind(0)
        z = newest * torch.addcmul(mu, self.eps[-1], sigma)
        if self.old:
            to_mu, to_sigma = (F.gelu(torch.addmm(b, h, w)) for w, b in zip(self.w1, self.b1))
            (w_mu, b_mu), e = self.mu, z.shape[1]
            z = z + torch.addmm(old @ b_mu, to_mu, w_mu * old.repeat_interleave(e)[:, None])
            z = z + torch.tensordot(old, self.eps[:-1] * self.maps(to_sigma, *self.sigma), 1)
        return torch.addmm(x, z, self.up)


def paper(modules, m=2048, classes=100):
    vit, batch = Vit(384, 14, 98), images(98)
    d, tokens = vit.dim, vit.w["pos_embed"].shape[1]
    layers = [NoiseLayer(j, modules, d, tokens) for j in range(DEPTH)]
    random, head = numbers(501, (d, m), 2 / math.sqrt(m)), numbers(502, (classes, m), 0.1)
    aux = torch.zeros(classes, m, requires_grad=True)
    parameters = [aux] + [x for layer in layers for x in [*layer.newest, layer.logits]]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    labels = torch.arange(BATCH) * 7 % classes

    def step():
        x = vit.embed(batch)
        for j, layer in enumerate(layers):
            x = layer(vit.block(x, j, torch.add, F.gelu).view(-1, d)).view(BATCH, tokens, d)
        p = torch.relu(vit.norm(x[:, 0], "norm") @ random)
        loss = F.cross_entropy(F.linear(p, head) + F.linear(p, aux), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def features(dim, patch, image):
    vit, batch = Vit(dim, patch, image).eval(), images(image)
    return torch.inference_mode()(lambda: vit(batch))


def ridge(m, classes):
    """LAPACK's potrf and potrs."""
    p = numbers(41, (1000, m), 2.0).clamp(min=0).double()
    gram, sums = p.T @ p, p.T @ F.one_hot(torch.arange(1000) % classes, classes).double()
    gram.diagonal().add_(1.0)
    return lambda: torch.cholesky_solve(sums, torch.linalg.cholesky(gram))


def build(case):
    """One pass of a case, and the same from the start."""
    name, _, sizes = case.partition("-")
    sizes = [int(x) for x in sizes.split("x") if x]
    if name == "gemm":
        m, k, n = sizes
        a, b = numbers(1, (m, k), 2.0), numbers(2, (k, n), 2.0)
        out = torch.empty(m, n)
        return lambda: torch.mm(a, b, out=out)
    if name == "hidden":
        rows, d = sizes
        x, w, bias = numbers(1, (rows, d), 2.0), numbers(2, (d, 4 * d), 0.5), numbers(3, (4 * d,), 2.0)
        u, out = torch.empty(rows, 4 * d), torch.empty(rows, 4 * d)
        return lambda: torch.ops.aten.gelu.out(torch.addmm(bias, x, w, out=u), out=out)
    if name == "attention":
        q, k, v = (numbers(seed, sizes, 2.0) for seed in (3, 4, 5))
        return lambda: F.scaled_dot_product_attention(q, k, v)
    if name == "layernorm":
        x, gamma, beta = numbers(6, sizes, 2.0), numbers(7, sizes[1:], 2.0), numbers(8, sizes[1:], 2.0)
        out, mean, rstd = torch.empty(sizes), torch.empty(sizes[0], 1), torch.empty(sizes[0], 1)
        norm = torch.ops.aten.native_layer_norm.out
        return lambda: norm(x, sizes[1:], gamma, beta, EPS, out0=out, out1=mean, out2=rstd)[0]
    if name == "noise":
        return noise(sizes[0])
    if name == "train":
        return train()
    if name == "ridge":
        return ridge(*sizes)
    if name == "features":
        return features(*sizes)
    if name == "paper":
        return paper(*sizes)
    return None


def ordered(result):
    """In the order in which minoise has it: the heads of a token side by side, a classifier class by class."""
    if result.dim() == 4:
        return result.transpose(1, 2)
    return result.T if result.dtype == torch.float64 else result


if __name__ == "__main__":
    # Freed memory is kept (M_MMAP_MAX and M_TRIM_THRESHOLD of glibc): fresh pages would cost a tenth of large passes.
    for option, value in ((-4, 0), (-1, 2**31 - 1)):
        ctypes.CDLL(None).mallopt(option, value)
    torch.set_num_threads(int(sys.argv[1]))
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)
    protocol.serve(build, lambda result: ordered(result.detach()).numpy())
