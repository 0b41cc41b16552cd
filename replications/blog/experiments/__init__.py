"""The blog's experiments.

The post documents networks, solvers and results, but its formulas and most numbers did not survive in the text at hand.
"""

from __future__ import annotations

from replications.blog.experiments.adjoint_memory.declaration import ADJOINT_MEMORY
from replications.blog.experiments.crescent.declaration import CRESCENT
from replications.blog.experiments.fm_vs_cnf.declaration import FM_VS_CNF
from replications.blog.experiments.spiral.declaration import SPIRAL
from replications.blog.experiments.theory.declaration import THEORY

EXPERIMENTS = (SPIRAL, CRESCENT, ADJOINT_MEMORY, FM_VS_CNF, THEORY)
BUILDERS = ("replications.blog.experiments.spiral.run:build",)
