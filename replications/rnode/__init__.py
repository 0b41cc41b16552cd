"""How to train your neural ODE (finlay2020rnode)."""
