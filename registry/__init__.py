# Whoever uses any module of this app has its codes.
from registry import errors as errors
