"""Local engine: a real model on this machine, served by llama.cpp behind the sandbox's protocol and tuned by LoRA.

Its answers are measured, not simulated. Everything here runs in the engine's own processes: the front
(`engine`, `jobs`), a llama.cpp server for each base (`llama_server`), and a trainer for each job (`trainer`).
"""
