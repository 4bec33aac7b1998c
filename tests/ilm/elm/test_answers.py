import pytest

from ilm.elm.answers import whole_sentences


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("A film. It is a", "A film."),
        ('He said: "Go!" And we', 'He said: "Go!"'),
        ("It cost 3.50 and", "It cost 3.50 and"),
        ("It is from 1995. A", "It is from 1995."),
        ("1. Bold.\n2. Brave.\n3. Str", "1. Bold.\n2. Brave."),
        ("", ""),
    ],
)
def test_text_that_was_cut_off_ends_with_its_last_whole_sentence(text: str, whole: str) -> None:
    assert whole_sentences(text) == whole
