"""Import from other products, with promptfoo's tests."""
