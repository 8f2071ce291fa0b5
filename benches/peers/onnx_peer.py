"""ONNX Runtime's side of a comparison (CPU provider, float32): features of vit.py's module, which PyTorch exports and ONNX
Runtime's own tool for transformers fuses. The argument is the number of threads."""
import contextlib
import sys
import tempfile

import numpy as np
import onnxruntime
import protocol
import torch
import vit
from onnxruntime.transformers import optimizer


class Exported(vit.Vit):
    """Attention is ONNX Runtime's fused one, which its tool does not find in the export."""

    def attention(self, qkv):
        q, k, v = qkv.chunk(3, -1)
        op, heads = "com.microsoft::MultiHeadAttention", {"num_heads": self.heads}
        return torch.onnx.ops.symbolic(op, (q, k, v), heads, dtype=q.dtype, shape=q.shape, version=1)


def session(dim, patch, image):
    module, options = Exported(dim, patch, image).eval(), onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    # Standard output is for answers.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr), torch.no_grad():
        file = f"{folder}/vit.onnx"
        torch.onnx.export(
            module, (vit.images(image),), file, input_names=["images"], opset_version=18, external_data=False, verbose=False
        )
        fused = optimizer.optimize_model(file, "vit", num_heads=module.heads, hidden_size=dim, opt_level=0)
        fused.save_model_to_file(file)
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def build(case):
    name, _, sizes = case.partition("-")
    if name != "features":
        return None
    sizes = [int(x) for x in sizes.split("x")]
    ready, images = session(*sizes), {"images": vit.images(sizes[2]).numpy()}
    return lambda: ready.run(None, images)[0]


if __name__ == "__main__":
    print(f"ONNX Runtime {onnxruntime.__version__}, {sys.argv[1]} threads", file=sys.stderr)
    protocol.serve(build, np.asarray)
