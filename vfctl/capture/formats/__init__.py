"""Readers of all capture formats, and the layers that several of them share."""
