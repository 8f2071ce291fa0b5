"""Python's side of a comparison of loaders: the JPEGs of the folder that PEER_IMAGES names, by torchvision's transforms and
PyTorch's DataLoader. The argument is the number of workers. Images are Pillow's; with `tensor` behind it torchvision decodes
them and transforms tensors."""
import os
import sys

import numpy as np
import PIL
import protocol
import torch
import torchvision
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

TENSOR = "tensor" in sys.argv[2:]
SIDE, RESIZED, BATCH = 224, 256, 64


class Jpegs(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.files = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        resize = v2.Resize(RESIZED, v2.InterpolationMode.BICUBIC, antialias=True)
        self.seen = v2.Compose([resize, v2.CenterCrop(SIDE), v2.Identity() if TENSOR else v2.PILToTensor()])

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        if TENSOR:
            return self.seen(decode_jpeg(read_file(self.files[i]), ImageReadMode.RGB))
        with Image.open(self.files[i]) as image:
            return self.seen(image.convert("RGB"))


def build(case):
    if case != "loader":
        return None
    images = Jpegs(os.environ["PEER_IMAGES"])
    loader = torch.utils.data.DataLoader(images, BATCH, num_workers=int(sys.argv[1]), persistent_workers=True)
    # What is compared of a batch: some bytes of its first image.
    return lambda: np.concatenate([batch[0].flatten()[::97].numpy() for batch in loader])


if __name__ == "__main__":
    print(f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, {sys.argv[1]} workers", file=sys.stderr)
    protocol.serve(build, np.asarray)
