"""The base of values that files hold."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A frozen model; keys that it does not know are ignored."""

    model_config = ConfigDict(frozen=True)
