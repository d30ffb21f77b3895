"""The inference service: OpenAI's wire in, a task's config or a prompt as it is live, a model's answer out."""
