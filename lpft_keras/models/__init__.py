"""Models: pre-trained backbones by name, texts to tokens, one Dense head, LoRA. Nothing here trains."""
