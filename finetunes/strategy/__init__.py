"""Recommendations: prompt, retrieval, fine-tune or hybrid."""
