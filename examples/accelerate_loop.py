"""A loop under Accelerate: prepare wraps the loader, and the sampler draws what it would draw alone.

On two processes: torchrun --nproc-per-node 2 examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

import tailgrad
from digits import digits
from tailgrad.losses import BalancedSoftmaxLoss
from tailgrad.samplers import SquareRootSampler

EPOCHS = 15


def main() -> None:
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    counts = torch.bincount(train.labels).tolist()
    sampler = SquareRootSampler(train.labels)
    # The sampler corrects half of the prior; the loss is told what is drawn, and corrects the other half.
    criterion = BalancedSoftmaxLoss(prior=sampler.log_frequencies().exp().tolist())
    accelerator.print(tailgrad.ledger([sampler, criterion], counts).text().splitlines()[-1])

    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 128), nn.ReLU(), nn.Linear(128, len(counts)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    loader = DataLoader(train, batch_size=32, sampler=sampler)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    drawn = torch.zeros(len(counts), dtype=torch.int64, device=accelerator.device)
    for epoch in range(1, EPOCHS + 1):
        loader.set_epoch(epoch)
        for images, target in loader:
            optimizer.zero_grad()
            accelerator.backward(criterion(model(images), target))
            optimizer.step()
            drawn += target.bincount(minlength=len(counts))

    total = accelerator.reduce(drawn, "sum").tolist()
    with torch.no_grad():
        correct = model(test.images.to(accelerator.device)).argmax(1).cpu() == test.labels
    recall = [correct[test.labels == k].float().mean() for k in range(len(counts))]
    accelerator.print(f"{len(train)} images, drawn over {EPOCHS} epochs by all processes: {total}")
    accelerator.print(f"accuracy {correct.float().mean():.3f}; recall of the rarest {recall[-1]:.3f}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
