"""Full-text search: the results on both databases equal those of a short reference in Python."""
# ruff: noqa: RUF001  # confusable letters are part of the test data

from itertools import groupby
from unicodedata import category, normalize

import hypothesis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.extensions import db
from app.tasks.search import (
    MAX_SIGNS_LENGTH,
    MAX_WORD_LENGTH,
    _words_of_any,
    _words_of_ascii,
    stored_words,
    words,
)
from tests.problems import parameters

SORTS = ("created_at", "updated_at", "due", "priority", "title", "position")
NAUGHTY = [
    *("undefined", "NULL", "null", "None", "true", "1E+02", "0x0", "-1.00", "1/0", "NaN"),
    *("1,000", "!@#$%^&*()`~", '<>?:"{}|_+', ",./;'[]\\-="),
    *("\x01\x02\x03\x04\x05\x06\x07\x08\x0e\x7f", "\x80\x81\x84\x86", "a\ufeff"),
    *("\u202etest\u202d", "\u2060b", "c\u200b", "d\xad", "\ufffe", "Ω≈ç√∫˜µ≤≥÷", "åß∂ƒ©˙∆˚¬…æ"),
    *("œ∑´®†¥¨ˆøπ“‘", "¡™£¢∞§¶•ªº–≠", "¸˛Ç◊ı˜Â¯˘¿", "⅛⅜⅝⅞", "ЁЂЃЄЅІЇЈЉЊ", "٠١٢٣", "⁰⁴⁵₀₁₂"),
    *("ด้้้้้็็็็็้้", "田中さんにあげて下さい", "部落格", "사회과학원", "찦차를", "𠜎𠜱𠝹"),
    *("ⱺ", "ÅÍÎÏ˝ÓÔÒÚÆ☃", "ヽ༼ຈل͜ຈ༽ﾉ", "(｡◕ ∀ ◕｡)", "👩🏽", "👨\u200d👩\u200d👦", "🇺🇸🇷🇺"),
    *("123", "١٢٣", "ﷺ", "الكل في المجمو", "הָיְתָה", "הָיְתָהtestالصفحات", "̡͓̞ͅI̗c҉̔m̺̭"),
    *("T̷͈o͞ ͇", "˙ɐnbᴉlɐ", "Ｔｈｅ", "𝐓𝐡𝐞", "⒯⒣⒠", "<script>alert(0)</script>", "';--"),
    *("1;DROP TABLE tasks", "' OR 1=1 -- 1", "%", "_", "%s%n", "{0}", "$HOME", "`ls`"),
    *("../../etc/passwd", "\\", "\\\\", '"', '""', "AND", "OR", "NOT", "NEAR(", "a NEAR/2 b"),
    *("*", "**", ":", "-x", "{", "}", "^", "title:x", "+", "&", "|", "!", "<->", ":*", "a:*"),
    *("'", "''", "$$", "$1", "?", ":q", "%(q)s", "[]", '["a"]', "\\u0041", "!%", "!!_"),
    *("\U0010ffff",),
]  # fmt: skip
# Characters that interact by case folding, composition or escaping.
LETTERS = st.sampled_from(
    "aAbBzäÄéßsSıİøñ1٢字かがΣσςक्ि🙂 \u3000\u0301\u0308\u200d\ufe0f\"'\\%_!*-:&|<>@^~\x01"
)
TEXTS = st.text(LETTERS, min_size=1, max_size=12).map(str.strip).filter(bool)


def find(account, q, **query):
    response = account.get("/tasks", query_string={"q": q, "limit": 200, **query})
    assert response.status_code == 200, response.text
    return [task["id"] for task in response.json["data"]]


def titles(account, q):
    response = account.get("/tasks", query_string={"q": q, "sort": "title"})
    assert response.status_code == 200, response.text
    return {task["title"] for task in response.json["data"]}


def runs(text):
    """Split text into words and runs of other signs; a combining mark joins what precedes it."""
    types, run_type = [], " "
    for sign in normalize("NFC", text):
        if sign.isalnum():
            run_type = "w"
        elif sign.isspace():
            run_type = " "
        elif run_type != "w" or category(sign)[0] != "M":
            run_type = "s"
        types.append(run_type)
    pairs = groupby(zip(types, normalize("NFC", text), strict=True), key=lambda pair: pair[0])
    return [
        (run_type, "".join(sign for _, sign in run)) for run_type, run in pairs if run_type != " "
    ]


def bare(word):
    folded = normalize("NFD", word).casefold()
    accents = {"\u0301", "\u0308", "\u0307", "\u0303"}
    return normalize(
        "NFC", "".join({"ı": "i", "ø": "o"}.get(c, c) for c in folded if c not in accents)
    )


def is_found(q, text):
    """Return whether the text has each word of ``q`` as a prefix, and each run of signs."""
    text_runs = runs(text)
    return all(
        any(bare(word).startswith(bare(part)) for text_type, word in text_runs if text_type == "w")
        if run_type == "w"
        else all(
            any(
                part[at : at + MAX_SIGNS_LENGTH] in signs
                for text_type, signs in text_runs
                if text_type == "s"
            )
            for at in range(len(part))
        )
        for run_type, part in runs(q)
    )


@pytest.mark.parametrize(
    ("title", "found_by", "not_by"),
    [
        ("Buy fresh milk", ["milk", "MILK", "mil", "m", "fresh buy", "buy milk"], ["ilk", "milky"]),
        ("Train to Zürich", ["zurich", "ZÜR", "zürich", "zu\u0308r"], ["zuerich"]),
        ("Zu\u0308rich", ["Zürich", "ZUR"], ["rich"]),
        ("Straße", ["STRASSE", "straße", "strass", "stra"], ["strase"]),
        ("Łódź, Tromsø", ["lodz", "tromso", "ŁÓDŹ"], ["odz"]),
        ("İstanbul Isparta", ["istanbul", "ısparta", "ISPARTA"], ["stanbul"]),
        ("Ὀδυσσεύς", ["οδυσσευς", "ΟΔΥΣΣΕΎΣ", "οδυσσευσ"], ["δυσ"]),
        ("日本語 メモ", ["日本", "日本語", "メ"], ["本語", "中"]),
        ("がき", ["が", "がき"], ["か", "かき", "き"]),
        ("हिन्दी में", ["हिन्दी", "हि"], ["हन", "की"]),
        ("Party 🎉🎂 now", ["🎉", "🎂", "🎉🎂", "party 🎂"], ["🎂🎉", "🎈"]),
        ("100% of a_b", ["100%", "a_b", "%", "_", "10"], ["100&", "a-b", "00", "__"]),
        ("it's C++", ["it's", "'", "c++", "+", "++", "it+"], ["+++", "it-"]),
        ("see -> there", ["->", "-", ">"], [">-", "=>"]),
        ("caf\xe9 \x01", ["\x01", "cafe"], ["\x02"]),
        ("go!\x01 on", ["!", "!\x01", "\x01"], ["!!", "\x01!"]),
        ("x" * 150, ["x", "x" * 150], ["x" * 151, "xy"]),
    ],
)
def test_title_is_found_by_word_prefixes(alice, title, found_by, not_by):
    alice.task("Quite another one")
    alice.task(title)
    for q in found_by:
        assert titles(alice, q) == {title}, q
    for q in not_by:
        assert titles(alice, q) == set(), q


def test_sign_is_found_before_a_control_character(alice):
    task = alice.task("go !\x01")
    alice.task("go on")
    assert find(alice, "!") == [task["id"]]


def test_naughty_title_is_found_by_itself(alice):
    stored = [alice.task(title)["title"] for title in NAUGHTY]
    for title in stored:
        found = titles(alice, title)
        assert title in found
        assert found == {other for other in stored if is_found(title, other)}


@pytest.mark.parametrize(
    "q", ["and", "or NOT", 'NEAR("milk', "milk*", "^milk", "title:milk", "!milk"]
)
def test_query_has_no_operators(alice, q):
    alice.task("Buy milk")
    assert titles(alice, q) == set()
    alice.task(q)
    assert titles(alice, q) == {q}


def test_title_and_description_together_contain_all_words(alice):
    both = alice.task("Buy milk", description="From the *farm* in Zürich")
    alice.task("Buy bread")
    only = alice.task("Call", description="the farm")
    assert find(alice, "farm") == [only["id"], both["id"]]
    assert find(alice, "milk farm") == find(alice, "zurich buy") == [both["id"]]
    assert find(alice, "*") == [both["id"]]
    assert find(alice, "bread farm") == []
    assert find(alice, "buy " * 50) == find(alice, "b", sort="-created_at")


def indexed(app, owner, word):
    """Return the ids in SQLite's index for a word, of deleted tasks too."""
    with app.app_context():
        if db.engine.dialect.name == "postgresql":  # maintains its index itself
            return []
        params = {"q": f'"{owner.id}:{word}"*'}
        statement = text("SELECT rowid FROM tasks_search WHERE tasks_search MATCH :q")
        return db.session.scalars(statement, params).all()


def test_search_follows_updates_and_deletions(app, alice):
    task = alice.task("Buy milk", description="soon")
    path = f"/tasks/{task['id']}"
    alice.patch(path, {"title": "Buy bread"})
    assert (find(alice, "milk"), find(alice, "bread soon")) == ([], [task["id"]])
    alice.patch(path, {"description": None})
    assert find(alice, "soon") == []
    alice.patch(path, {"priority": "high"})
    assert find(alice, "bread") == [task["id"]]
    alice.put(path, {"title": "New", "status": "pending", "description": "later"})
    assert (find(alice, "bread"), find(alice, "new later")) == ([], [task["id"]])
    alice.delete(path)
    assert find(alice, "new") == []
    former_words = ("buy", "milk", "soon", "bread", "new", "later")
    assert not any(indexed(app, alice, word) for word in former_words)


def test_search_follows_a_batch(alice):
    updated, deleted = alice.task("First"), alice.task("Second")
    operations = [
        {"op": "create", "body": {"title": "Third", "description": "batched"}},
        {"op": "update", "id": updated["id"], "body": {"title": "Batched too"}},
        {"op": "delete", "id": deleted["id"]},
    ]
    response = alice.post("/tasks/batch", {"operations": operations})
    created_id = response.json["results"][0]["body"]["id"]
    assert sorted(find(alice, "batched")) == [updated["id"], created_id]
    assert find(alice, "first") == find(alice, "second") == []


def test_words_are_deleted_with_their_user(app, alice, bob):
    alice.task("Buy milk")
    task = bob.task("Buy bread")
    assert alice.delete("/auth/me").status_code == 204
    assert indexed(app, alice, "buy") == []
    assert find(bob, "buy") == [task["id"]]


def test_search_finds_own_tasks_only(alice, bob, admin):
    task = alice.task("Secret plan")
    bob.task("Plan")
    assert find(bob, "secret") == find(admin, "secret") == []
    assert find(admin, "secret", owner_id=alice.id) == [task["id"]]
    assert bob.get(f"/tasks?q=secret&owner_id={alice.id}").json["data"] == []


@pytest.mark.parametrize("q", ["", " ", "\t\n", "\u3000", "x" * 201, "\0", "a\0b"])
def test_invalid_query_is_rejected(alice, q):
    assert parameters(alice.get("/tasks", query_string={"q": q})) == {"q"}


@pytest.mark.parametrize("q", ["%ED%A0%80", "a%ED%BF%BFb", "%00", "%FF", "%C3"])
def test_invalid_utf8_is_rejected(alice, q):
    assert parameters(alice.get(f"/tasks?q={q}")) == {"q"}


def test_query_may_have_200_characters(alice):
    title = "ab " * 50
    task = alice.task(title)
    for q in ("a" * 200, "😀" * 200, "a " * 100, "%" * 200, "! " * 100):
        assert find(alice, q) == ([task["id"]] if q == "a " * 100 else [])


@pytest.mark.parametrize("sign", [*"-xß", "\U0001f600", "ﷺ", "\\", '"', "\x01", "ΐ"])
def test_longest_description_of_one_character_is_found(alice, sign):
    task = alice.task(description=sign * 20_000)
    assert find(alice, sign) == find(alice, sign * 200) == [task["id"]]


@pytest.mark.parametrize("first", [0x21, 0x4E00, 0x1F300, 0x10000])
def test_longest_description_of_different_characters_is_found(alice, first):
    codes = [first + number * 7 for number in range(4_000)]
    text = "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    task = alice.task(description=(text * 5)[:20_000])
    assert find(alice, text[:30].strip()) == [task["id"]]


@pytest.mark.parametrize("sort", [sign + sort for sort in SORTS for sign in ("", "-")])
def test_search_combines_with_every_sort_and_filter(alice, sort):
    for number in range(24):
        alice.task(
            f"Task {'odd' if number % 2 else 'even'} {number}",
            status="completed" if number % 3 else "pending",
            due_date=f"2030-01-{number + 1:02}" if number % 4 else None,
            priority="high" if number % 5 else "low",
        )
    all_tasks = alice.get("/tasks", query_string={"sort": sort}).json["data"]
    for q, filters in (
        ("odd", {}),
        ("task odd", {"status": "completed"}),
        ("ev", {"has_due": "true", "priority": "high"}),
        ("t o", {"due_before": "2030-01-15"}),
    ):
        expected = [
            task["id"]
            for task in all_tasks
            if is_found(q, task["title"])
            and task["status"] == filters.get("status", task["status"])
            and task["priority"] == filters.get("priority", task["priority"])
            and (task["due_date"] or "" if filters.get("has_due") else True)
            and ("due_before" not in filters or (task["due_date"] or "9") < "2030-01-15")
        ]
        seen, cursor = [], {}
        while cursor is not None:
            query = {"q": q, "sort": sort, "limit": 3, **filters, **cursor}
            page = alice.get("/tasks", query_string=query).json
            seen += [task["id"] for task in page["data"]]
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None
        assert seen == expected


def test_cursor_is_bound_to_its_query(alice):
    for _ in range(3):
        alice.task("Buy milk")
    cursor = alice.get("/tasks?q=milk&limit=1").json["next_cursor"]
    assert alice.get(f"/tasks?q=milk&limit=1&cursor={cursor}").status_code == 200
    for query in ("", "q=buy&", "q=milk%20buy&"):
        response = alice.get(f"/tasks?{query}limit=1&cursor={cursor}")
        assert (response.status_code, response.json["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize("q", ["milk", "buy milk", "nothing", "a b c d e f g h i j"])
def test_search_takes_one_statement(alice, statements, q):
    for title in ("Buy milk", "A b c d e f g h i j", "Call"):
        alice.task(title)
    with statements() as seen:
        find(alice, q)
    assert len(seen) == 2  # the session, and the page


@hypothesis.given(st.text(st.characters(max_codepoint=127)))
def test_ascii_tokenizer_equals_the_general_one(text):
    assert _words_of_ascii(text) == _words_of_any(text)


@pytest.mark.parametrize("count", [1, 20, 40])
def test_all_words_with_one_prefix_are_found(alice, count):
    ids = [alice.task(f'un"like{number}')["id"] for number in range(count)]
    alice.task("nothing alike")
    assert find(alice, 'un"like', sort="created_at") == ids


def test_query_of_200_different_signs_finds_its_task(alice):
    signs = "".join(chr(0x2200 + number) for number in range(200))
    task = alice.task(description=signs)
    alice.task(description=signs[:150])
    assert find(alice, signs) == [task["id"]]


@hypothesis.given(TEXTS)
def test_words_of_a_title_find_it(title):
    title_words = words(title)
    assert title_words
    assert is_found(title, title)
    assert words(" ".join(title_words)) == title_words
    assert stored_words(7, title, None).split(" ") == [f"7:{word}" for word in title_words]


@hypothesis.given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150))
def test_words_fit_into_the_index(text):
    parts = words(text)
    assert parts == sorted(set(parts))
    assert not any(sign.isspace() for word in parts for sign in word)
    assert all(0 < len(word) <= MAX_WORD_LENGTH for word in parts)
    assert bool(parts) == bool(text.strip())


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@hypothesis.given(
    st.lists(TEXTS, min_size=1, max_size=8),
    st.lists(TEXTS, min_size=1, max_size=8),
)
def test_search_finds_what_the_reference_finds(alice, texts, queries):
    # A title needs a visible character.
    tasks = [alice.task(f"{text} x", description=text[::-1].strip()) for text in texts]
    for q in [*queries, *texts]:
        expected = {
            task["id"] for task in tasks if is_found(q, f"{task['title']} {task['description']}")
        }
        assert set(find(alice, q)) == expected, q
    for task in tasks:
        alice.delete(f"/tasks/{task['id']}")
