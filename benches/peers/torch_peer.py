"""PyTorch's side of a comparison (CPU, float32; ridge in float64); see cases.rs and compare. The argument is the number of
threads; with `draw` behind it passes draw as much noise as they find, and drop it: what is compared is minoise's.
Results are written into tensors that are there before, wherever PyTorch can."""
import sys

import protocol
import torch
import torch.nn.functional as F

EPS = 1e-6


def numbers(seed, shape, scale):
    return torch.from_numpy(protocol.numbers(seed, shape, scale))


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
    return None


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)
    protocol.serve(build, lambda result: result.detach().numpy())
