"""Hugging Face Trainer: one callback watches a small vision transformer; nothing is downloaded."""

import argparse
import tempfile

import torch
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from digits import SIZE, AsMappings, digits
from tailgrad.integrations import HuggingFaceCallback


def main(steps: int, every: int) -> None:
    torch.manual_seed(0)
    train, test = digits("train"), digits("test")
    config = ViTConfig(
        image_size=SIZE[0],
        patch_size=4,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        id2label=dict(enumerate(train.classes)),
        label2id={name: k for k, name in enumerate(train.classes)},
    )
    callback = HuggingFaceCallback(every=every)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=64,
            learning_rate=2e-3,
            lr_scheduler_type="cosine",
            logging_steps=50,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        trainer = Trainer(
            model=ViTForImageClassification(config),
            args=arguments,
            train_dataset=AsMappings(train),
            eval_dataset=AsMappings(test),
            compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(1) == p.label_ids).mean())},
        )
        callback.attach(trainer)  # callbacks=[callback] does too, but does not reach TensorBoard
        trainer.train()
        accuracy = trainer.evaluate()["eval_accuracy"]
        print(f"{len(callback.records)} measurements; test accuracy {accuracy:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=20, help="steps between two measurements")
    main(**vars(parser.parse_args()))
