"""Every method on the same tasks, side by side, by one protocol: `PROTOCOL.md`."""
