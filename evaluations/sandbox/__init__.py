"""Sandbox: a real HTTP server with OpenAI's protocol, and a program in place of a model.

Its answers are a simulation, and every page that shows figures from it says so. It learns from the examples in a prompt
and from files it is fine-tuned with, so that better prompts do better; on demand it is slow, rejects calls, hangs or
answers nonsense. The protocol is `evaluations.openai_server`; a real model behind it is `evaluations.local`.
"""
