"""Fine-tune jobs and what comes out of them."""
