"""When maximum likelihood and flow matching, training one and the same network, reach a goal."""
