# Whoever uses any module of this app has its codes.
from evaluations import errors as errors
