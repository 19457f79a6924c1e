"""Instructor: an extraction that is tried again with what was wrong, until it is valid."""

import contextlib

import instructor
from instructor.core import InstructorRetryException
from openai import OpenAI
from pydantic import BaseModel, field_validator
from talk import KEY, MAIN, MODEL, TASKS, at, side_by_side


class User(BaseModel):
    name: str
    age: int

    @field_validator("age")
    @classmethod
    def is_old_enough(cls, age: int) -> int:
        if age < 8:
            raise ValueError("must be at least 8")
        return age


def converse(number: int) -> None:
    url = at(number, MAIN, "extractor", steps=9)
    client = instructor.from_openai(OpenAI(base_url=url, api_key=KEY))
    said = [{"role": "user", "content": f"Extract: {TASKS[number]}"}]
    with contextlib.suppress(InstructorRetryException):  # it may be wrong four times
        client.chat.completions.create(
            model=MODEL, response_model=User, max_retries=4, messages=said
        )


side_by_side(converse)
