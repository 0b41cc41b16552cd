"""The mathematics the papers share."""
