"""A loop of one's own with AsymmetricSAM: the closure gives one loss an example and runs twice a step."""

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.optim import AsymmetricSAM

torch.manual_seed(0)
train, test = digits("train"), digits("test")
counts = torch.bincount(train.labels).tolist()
model = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(768, 128), torch.nn.ReLU(), torch.nn.Linear(128, len(counts))
)
sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
optimizer = AsymmetricSAM(model, sgd, counts, rho=0.05, variant="direction")
for _ in range(20):
    for x, y in DataLoader(train, batch_size=64, shuffle=True):
        loss = optimizer.step(lambda x=x, y=y: (cross_entropy(model(x), y, reduction="none"), y))

with torch.no_grad():
    correct = model(test.images).argmax(1) == test.labels
print(f"Last loss {loss:.3f}; test accuracy {correct.float().mean():.3f}")
