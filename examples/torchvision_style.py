"""A training script in the shape of torchvision's reference, for image folders: three lines are changed."""

import argparse
import os
import tempfile
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from digits import digits
from tailgrad.losses import BalancedSoftmaxLoss  # changed: 1


def train_one_epoch(model, criterion, optimizer, data_loader, device, epoch):
    model.train()
    total = 0.0
    for image, target in data_loader:
        image, target = image.to(device), target.to(device)
        loss = criterion(model(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"Epoch: [{epoch}] loss {total / len(data_loader):.3f}")


def evaluate(model, criterion, data_loader, device, num_classes):
    model.eval()
    found, there, total = torch.zeros(num_classes), torch.zeros(num_classes), 0.0
    with torch.inference_mode():
        for image, target in data_loader:
            output, target = model(image.to(device)), target.to(device)
            total += criterion(output, target).item()
            found += target[output.argmax(1) == target].bincount(minlength=num_classes).cpu()
            there += target.bincount(minlength=num_classes).cpu()
    by_class = " ".join(f"{share:.2f}" for share in (found / there).tolist())
    print(f"Test: loss {total / len(data_loader):.3f} Acc@1 {found.sum() / there.sum():.3f}")
    print(f"recall by class {by_class}")


def load_data(traindir, valdir, distributed):
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    dataset = torchvision.datasets.ImageFolder(traindir, v2.Compose([v2.RandomCrop(16, 1), *to_tensor]))
    dataset_test = torchvision.datasets.ImageFolder(valdir, v2.Compose(to_tensor))
    if distributed:
        train_sampler = torch.utils.data.distributed.DistributedSampler(dataset)
        test_sampler = torch.utils.data.distributed.DistributedSampler(dataset_test, shuffle=False)
    else:
        train_sampler = torch.utils.data.RandomSampler(dataset)
        test_sampler = torch.utils.data.SequentialSampler(dataset_test)
    return dataset, dataset_test, train_sampler, test_sampler


def main(args):
    distributed = "RANK" in os.environ
    if distributed:
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    device = torch.device(args.device)
    torch.manual_seed(0)
    train_dir, val_dir = Path(args.data_path) / "train", Path(args.data_path) / "val"
    dataset, dataset_test, train_sampler, test_sampler = load_data(train_dir, val_dir, distributed)
    num_classes = len(dataset.classes)
    loader = torch.utils.data.DataLoader
    data_loader = loader(dataset, batch_size=args.batch_size, sampler=train_sampler)
    data_loader_test = loader(dataset_test, batch_size=args.batch_size, sampler=test_sampler)

    model = torchvision.models.get_model(args.model, weights=None, num_classes=num_classes)
    model.to(device)
    counts = torch.bincount(torch.tensor(dataset.targets)).tolist()  # changed: 2
    criterion = BalancedSoftmaxLoss(counts).to(device)  # changed: 3, was nn.CrossEntropyLoss()

    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    if distributed:
        model = nn.parallel.DistributedDataParallel(model)
    for epoch in range(args.epochs):
        if distributed:
            train_sampler.set_epoch(epoch)
        train_one_epoch(model, criterion, optimizer, data_loader, device, epoch)
        schedule.step()
    evaluate(model, criterion, data_loader_test, device, num_classes)


def write_folders(root):
    """The digits as folders of images, train/<class>/ and val/<class>/, for a first run."""
    for part, name in (("train", "train"), ("test", "val")):
        data = digits(part)
        pixels = ((data.images + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
        for i, (image, label) in enumerate(zip(pixels, data.labels.tolist(), strict=True)):
            folder = Path(root) / name / data.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i:04d}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-path", help="folder with train/ and val/; digits by default")
    parser.add_argument("--model", default="resnet18", help="any classifier of torchvision")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1e-3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        if arguments.data_path is None:
            write_folders(made)
            arguments.data_path = made
        main(arguments)
