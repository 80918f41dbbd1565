"""What the types of documents have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Described(BaseModel):
    """An object of a document; what stands behind an attribute is its description in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)
