"""A loop of one's own with GALALoss: built from the class counts, saved with the model."""

import torch
from torch.utils.data import DataLoader

from digits import digits
from tailgrad.losses import GALALoss

torch.manual_seed(0)
train, test = digits("train"), digits("test")
model = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(768, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)
)
criterion = GALALoss(torch.bincount(train.labels).tolist())
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
for _ in range(20):
    for x, y in DataLoader(train, batch_size=64, shuffle=True):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
state = {"model": model.state_dict(), "loss": criterion.state_dict()}  # both, for a run that goes on later

with torch.no_grad():  # the margins are the loss's: the model's own logits predict
    correct = model(test.images).argmax(1) == test.labels
shares = criterion.theta / criterion.theta.sum()
print(f"Shares of theta {[round(s, 2) for s in shares.tolist()]}")
print(f"Last loss {loss:.3f}; test accuracy {correct.float().mean():.3f}; saved {', '.join(state)}")
