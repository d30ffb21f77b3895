# Whoever uses any module of this app has its codes.
from finetunes import errors as errors
