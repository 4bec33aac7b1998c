"""What requests may say, with limits on all of it, and what answers look like."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_ITEMS, MAX_HISTORY, MAX_MESSAGES, MAX_VALUES = 1_000, 1_000, 200, 100
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""A user's or an item's id, or a title."""
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ValueFilter(_Strict):
    """Values of a column of the catalogue, such as genres: an item needs one of `any` and may have none of `none`."""

    any: list[Name] = Field(default=[], max_length=MAX_VALUES)
    none: list[Name] = Field(default=[], max_length=MAX_VALUES)


class YearFilter(_Strict):
    """Years that belong to it; items whose year is not known are outside."""

    from_: int | None = Field(default=None, alias="from", ge=1, le=9999)
    to: int | None = Field(default=None, ge=1, le=9999)


class RecommendRequest(_Strict):
    """For whom, how many, and what must hold of them."""

    user: Name | None = Field(default=None, description="Id of a user of the log; or `history`.")
    history: list[Name] = Field(default=[], max_length=MAX_HISTORY, description="Titles or item ids, oldest first.")
    k: int = Field(default=10, ge=1, le=MAX_ITEMS, description="How many items.")
    exclude_seen: bool = Field(default=True, description="Leave out the items of the history.")
    exclude: list[Name] = Field(default=[], max_length=MAX_HISTORY, description="Titles or ids to leave out besides.")
    where: dict[Name, ValueFilter | YearFilter] = Field(
        default={},
        max_length=20,
        description="Column -> what must hold of it.",
        examples=[{"genres": {"any": ["Comedy"], "none": ["War"]}, "year": {"from": 1990, "to": 1999}}],
    )
    model: ModelName = Field(default="champion", description="champion or challenger.")

    def filters(self) -> dict[str, dict[str, Any]]:
        """`where` as `ilm.prompts.constraints.parse_constraints` takes it."""
        return {name: what.model_dump(by_alias=True, exclude_unset=True) for name, what in self.where.items()}


class Item(BaseModel):
    """A recommended item; `score` is comparable within one list only."""

    item_id: str
    title: str
    score: float
    cold: bool = Field(description="Its vector is a guess from its words: nobody had met it.")


class RecommendResponse(BaseModel):
    """Best first; fewer than `k` where there are no more."""

    model: str
    version: str
    items: list[Item]


class ContentPart(BaseModel):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """As OpenAI's clients write it."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[ContentPart] | None = None

    def words(self) -> str:
        """The text, whatever its form."""
        parts = [self.content] if isinstance(self.content, str) else [part.text for part in self.content or ()]
        return " ".join(part.strip() for part in parts).strip()


class ChatRequest(BaseModel):
    """As OpenAI's clients write it; what is not listed here (temperature, tools, …) has no effect."""

    model: ModelName = "champion"
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = False
    user: Name | None = Field(default=None, description="Id of a user of the log.")
    history: list[Name] = Field(default=[], max_length=MAX_HISTORY, description="Or titles or ids, oldest first.")
    k: int = Field(default=3, ge=1, le=MAX_ITEMS, description="Items per answer.")


class Problem(BaseModel):
    """Why there is no answer, in OpenAI's form."""

    message: str
    type: str
    code: int


class ProblemResponse(BaseModel):
    """What every answer of 400 or more looks like."""

    error: Problem
