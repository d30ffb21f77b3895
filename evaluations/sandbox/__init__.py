"""A stand-in for a model provider: a real HTTP server with OpenAI's protocol, and a program in place of a model.

What it answers is a simulation, and every page that shows figures from it says so. It learns from the examples in a
prompt and from files it is fine-tuned with, so that better prompts do better; it can be told to be slow, to turn calls
away, to hang or to answer nonsense. The protocol (`protocol`, `tuning`, `faults`) knows engines by `engine.Engine`
alone: a real model is another engine.
"""
