"""Training: batches, the linear probe, fine-tuning. Token arrays in, trained weights and history out."""
