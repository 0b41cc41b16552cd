"""The blog's experiments.

The post documents networks, solvers and results, but its formulas and most numbers did not survive in the text at hand.
"""

from __future__ import annotations

from replications.blog.experiments.adjoint_memory.declaration import ADJOINT_MEMORY
from replications.blog.experiments.crescent.declaration import CRESCENT
from replications.blog.experiments.spiral.declaration import SPIRAL
from replications.blog.experiments.theory.declaration import THEORY
from replications.flow_matching.experiments.convergence.declaration import FM_VS_CNF

EXPERIMENTS = (SPIRAL, CRESCENT, ADJOINT_MEMORY, FM_VS_CNF, THEORY)
