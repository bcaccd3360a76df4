"""Lines that fit a terminal: names lose their middle, sentences break between words, no word is lost."""

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tierfleet.cli.invoke.call_text import explanation_text
from tierfleet.columns import in_columns, sentence, shortened
from tierfleet.runtime.client.api_trace import TracedRequest
from tierfleet.runtime.client.explain import INVOKE, CacheState, Explanation

cells = st.text("abc-/.…é", max_size=70)
rows = st.lists(st.tuples(cells, cells, st.text("0123456789", max_size=8), cells), min_size=1, max_size=6)
words = st.lists(st.text("abcdefgh", min_size=1, max_size=12), max_size=40)


@given(rows, st.integers(60, 200))
def test_rows_fit_and_say_where_they_were_cut(given_rows: list[tuple[str, ...]], width: int) -> None:
    lines = in_columns(given_rows, width, shrink=(0, 1, 3), right=(2,))

    assert len(lines) == len(given_rows)
    assert max(map(len, lines)) <= width
    for row, line in zip(given_rows, lines, strict=True):
        for cell in row:
            start, end = cell[:6], cell[-5:] if len(cell) > 5 else cell
            assert cell.strip() in line or (start in line and end in line and "…" in line)


@given(rows)
def test_without_a_terminal_nothing_is_cut(given_rows: list[tuple[str, ...]]) -> None:
    for row, line in zip(given_rows, in_columns(given_rows, None, shrink=(0, 1, 3)), strict=True):
        assert "".join(line.split()) == "".join("".join(row).split())


def test_rows_may_be_short_and_there_may_be_none() -> None:
    assert in_columns([], 80, shrink=(0,)) == []
    assert in_columns([["a" * 90]], 80, shrink=range(4)) == ["a" * 40 + "…" + "a" * 39]
    assert in_columns([["a", "b"], ["ccc"]], 80) == ["a    b", "ccc"]


@given(cells, st.integers(3, 80))
def test_a_shortened_name_has_both_its_ends(name: str, characters: int) -> None:
    short = shortened(name, characters)

    assert len(short) <= characters
    assert short == name or (name.startswith(short.partition("…")[0]) and "…" in short)


@given(words, st.integers(40, 120), st.integers(0, 60))
def test_a_sentence_keeps_every_word_and_fits(given_words: list[str], width: int, start: int) -> None:
    first = "x" * start + " "
    lines = sentence(" ".join(given_words), width, first=first).splitlines()

    assert " ".join(" ".join(lines).split()) == " ".join([first.strip(), *given_words]).strip()
    assert all(len(line) <= max(width, start) for line in lines)
    assert sentence(" ".join(given_words), None, first=first) == first + " ".join(given_words)


def test_what_can_be_copied_is_not_broken() -> None:
    uri = "141502667606.dkr.ecr.eu-west-1.amazonaws.com/" + "x" * 30
    lines = sentence(f"{uri} cannot be pulled", 80, first="problem  image        ").splitlines()

    assert any(uri in line for line in lines)
    assert max(map(len, lines)) <= 80


def traced(
    service: str,
    operation: str,
    status: int,
    failure: str,
    sent: dict[str, str] | None = None,
    received: dict[str, str] | None = None,
) -> TracedRequest:
    return TracedRequest(
        service=service,
        operation=operation,
        started_seconds=0.02,
        seconds=1.5,
        status=status,
        failure=failure,
        sent=sent or {},
        received=received or {},
    )


def test_an_explanation_fits_80_columns_and_a_pipe_gets_whole_lines() -> None:
    long = "there is no such model archive, or the endpoint's role may not read it (NoSuchKey: The specified key)"
    agent = "Boto3/1.43.106 md/Botocore#1.43.106 ua/2.1 os/linux#6.18.44 md/arch#x86_64 lang/python#3.11.7 cfg/retry"
    told = {"User-Agent": agent, "X-Amzn-SageMaker-Target-Model": "8c2e9a3e-7d1f-4b3a-9d55-0f1f3f1b2c7a/1.tar.gz"}
    asked = traced("s3", "GetObject", 404, long)
    called = traced("sagemaker-runtime", INVOKE, 424, long, told, {"x-amzn-RequestId": "a" * 36})
    explanation = Explanation(
        tenant="t1",
        why="t1 is not listed in the routes, so it is on the default tier tail, whose endpoint is shared",
        target_model="t1/1.tar.gz",
        cache=CacheState.UNKNOWN,
        cache_why="the call was not answered",
        requests=(asked, called),
        first=None,
        repeat=None,
        error=None,
    )

    def drawn(width: int | None) -> list[str]:
        console = Console(width=500)
        with console.capture() as captured:
            console.print(explanation_text(explanation, width))
        return [line.rstrip() for line in captured.get().splitlines()]

    narrow, whole = drawn(80), drawn(None)
    assert max(map(len, narrow)) <= 80
    assert " ".join(" ".join(narrow).split()).count(long) == 2
    assert any("…" in line and "User-Agent" in line for line in narrow)
    assert any(agent in line for line in whole)
    assert not any("…" in line for line in whole)
