"""Neural ODEs and continuous normalizing flows; a library of its own, see its README.

Rooms: `ode` (solves and their gradients), `fields` (vector fields), `density` (flows), `training`.
"""
