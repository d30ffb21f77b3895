"""How providers are reached: guarded connections, bounded answers, posts of JSON, streams of events. Pure."""
