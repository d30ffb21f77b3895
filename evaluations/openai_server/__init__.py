"""OpenAI's protocol over HTTP, for the servers that come with Cuebook: the sandbox and the local engine.

What they share is here: the key, chat, embeddings and models, files, and fine-tuning jobs with their events and
checkpoints. What answers and what trains is theirs.
"""
