"""Valid and invalid JSON for each production of RFC 8259, and strings that cause errors in programs."""
# ruff: noqa: E501, Q003, RUF001  # long lists; ambiguous characters are intended

VALUES = [
    # Numbers.
    *("0", "-0", "1", "-1", "10", "123456789", "9007199254740993", "-9223372036854775809"),
    *("0.0", "-0.0", "0.5", "1.50", "3.141592653589793238462643383279", "1e5", "1E5", "1e+5"),
    *("1E-5", "0e1", "0E+1", "-0e-1", "1.5e10", "1e308", "1e-400", "1" + "0" * 100),
    # Literals.
    *("true", "false", "null"),
    # Strings.
    *('""', '"a"', '" "', r'"\""', r'"\\"', r'"\/"', r'"\b\f\n\r\t"', r'"\u0041"', r'"\u00E9"'),
    *(r'"\u00e9"', r'"\uD83D\uDE00"', r'"\ud83d\ude00"', r'"\uffff"', r'"\u2028\u2029"', '"/"'),
    *('"\x7f"', '"\x80"', '"é"', '"字"', '"\U0001f600"', '"\U0010ffff"', '"\ufdd0"', '"\ufeff"'),
    *('"\u2028"', '"\u202e"', '"[{,:}]"', r'"\\u0000"', r'"\\\\"', '"\'"', '"// no comment"'),
    # Lists and objects.
    *("[]", "[ ]", "[1]", "[1,2]", "[ 1 , 2 ]", "[[]]", "[[[[[]]]]]", "[null,true,{}]", "[\n]"),
    *("{}", "{ }", '{"a":1}', '{ "a" : 1 }', '{"":0}', '{"a":{"a":{}}}', r'{"\u0061":1}'),
    *('{"a":1,"b":2,"A":3}', '{"a":[],"b":{}}', '{"é":1,"e\u0301":2}', '{"__proto__":1}'),
    # The four white space characters, before and after.
    *(" 1", "1 ", "\t1", "1\t", "\n1", "1\n", "\r1", "1\r", " \t\r\n1 \t\r\n"),
]

INVALID_VALUES = [
    # No value.
    *("", " ", "\n", ",", ":", "/", "\\", "#", "a", "é", "\U0001f600"),
    # Numbers.
    *("+1", "+0", "-", "+", "--1", "-+1", "- 1", "01", "-01", "00", "-00", "1.", "-1.", ".5"),
    *("-.5", ".", "1..2", "1.2.3", "1,2", "1_000", "1 000", "1e", "1e+", "1E-", "e1", "1e1.5"),
    *("1e1e1", "1.e1", "0x1", "0X1F", "0b1", "0o7", "1L", "1n", "1f", "1d", "½", "²", "１"),
    *("١", "∞", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "+Infinity", "1e999"),
    *("-1e999", "1e+9999", "1#INF", "$1", "1%", "=1", "9" * 5000),
    # Literals.
    *("True", "TRUE", "False", "None", "NULL", "Null", "nul", "nulll", "tru", "truee", "fals"),
    *("undefined", "nil", "yes", "on", "t", "n", "true false", "null,", "\\u0074rue"),
    # Strings.
    *('"', '"a', 'a"', "'a'", "`a`", '""""', '"a" "b"', '"a"b', '"a\nb"', '"a\tb"', '"a\rb"'),
    *('"\x00"', '"\x01"', '"\x1f"', '"\x08"', '"\x0c"', r'"\a"', r'"\v"', r'"\0"', r'"\x41"'),
    *(r'"\'"', r'"\U00000041"', r'"\u"', r'"\u0"', r'"\u00"', r'"\u004"', r'"\u004g"', '"\\'),
    *(r'"\u{41}"', r'"\ "', r'"\1"', r'"\N{DASH}"', '"\\\n"', '"\\é"', r'"\u+041"', r'"\u 041"'),
    *(r'"\u004١"', r'"\ud83d\u"', r'"\\"' + '"', "“a”", "«a»", 'u"a"', 'b"a"', 'r"a"', '"""a"""'),
    # Lists.
    *(
        "[",
        "]",
        "[1",
        "1]",
        "[1,",
        "[,",
        "[,]",
        "[,1]",
        "[1,]",
        "[1,,2]",
        "[1 2]",
        "[1;2]",
        "[1:2]",
    ),
    *("[1}", "(1)", "[1]]", "[[1]", "[]1", "[1],", "[1][2]", "[1]{}", "<1>", "[a]", "[...]", "[*]"),
    *('["a": 1]', "[1,2", '["a"', '["a]', "[-]", "[1.]", "[\x0c]", "[\u00a0]", "[\u2060]"),
    # Objects.
    *("{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '"a":1}', "{,}", '{"a":1,}', '{,"a":1}'),
    *(
        '{"a"}',
        '{"a",}',
        '{"a":}',
        "{:1}",
        '{"a"::1}',
        '{"a":1:2}',
        '{"a" 1}',
        '{"a"=1}',
        '{"a";1}',
    ),
    *(
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{null:1}",
        "{[]:1}",
        "{{}:1}",
        '{"a":1 "b":2}',
        '{"a":1;"b":2}',
    ),
    *('{"a":1,,"b":2}', '{"a":1]', '{"a":1}}', '{{"a":1}', '{"a":1}{}', '{"a":1},', '{"a":a}'),
    *(
        '{"a":1,"a":2}',
        '{"a":1,"a":1}',
        r'{"a":1,"\u0061":2}',
        '{"":1,"":2}',
        '{"b":{"a":1,"a":1}}',
    ),
    *('{"a":1/*b*/}', '{"a":1}//b', '{"a":1}#b', "/*a*/{}", "{/**/}", '{"a"/**/:1}', "<!-- -->1"),
    *("{**{}}", '{"a":...}', '{"a":$b}', '{"a":[}', '{"a":{]', '{"a":"b}', '{"a:1}', '{"\n":1}'),
    # Characters that are not white space in JSON, and byte order marks.
    *("\u00a01", "1\u00a0", "\x0c1", "\x0b1", "\u20281", "\u30001", "\ufeff1", "1\ufeff", "\x001"),
    *("1\x00", "1\x1a", "\x041", "\u00851", "\u200b1", "\u20601", ")]}',\n1", "while(1);1", "1;"),
    # More than one value.
    *("1 2", "{}{}", "[][]", "null null", '"a""b"', "{} []", "1\n2", "\x1e1\n", "1\r\n1"),
    # Deep nesting.
    *("[" * 33 + "]" * 33, '{"a":' * 33 + "1" + "}" * 33, "[" * 100_000, '{"a":' * 5000),
    *("]" * 1000, "[{" * 20_000, '[{"a":' * 20 + "1" + "}]" * 20, "[" * 40 + '"' + "]" * 40),
]

INVALID_UTF8 = [
    *(
        b'"\xff"',
        b'"\xfe"',
        b'"\x80"',
        b'"\xbf"',
        b'"\xc3"',
        b'"\xc3("',
        b'"\xe2\x82"',
        b'"\xf0\x9f"',
    ),
    *(b'"\xc0\x80"', b'"\xc1\xbf"', b'"\xe0\x80\x80"', b'"\xf0\x80\x80\x80"', b'"\xed\xa0\x80"'),
    *(
        b'"\xed\xbf\xbf"',
        b'"\xed\xa0\xbd\xed\xb8\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xf8\x88\x80\x80\x80"',
    ),
    *(
        b"\xff",
        b"\xef\xbb",
        b'"a\xe9"',
        b'{"\xff":1}',
        b'{"a":"\xff"}',
        b"1\xff",
        b"\xff1",
        b"[\xff]",
    ),
]

# Complete bodies, because decoders detect an encoding by the first bytes.
OTHER_ENCODINGS = [
    '{"title": "x"}'.encode(name)
    for name in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7")
    if '{"title": "x"}'.encode(name) != b'{"title": "x"}'
]


def within(value: bytes) -> bytes:
    """Return a body with the value as a member."""
    return b'{"title": ' + value + b"}"


# Only valid values are also valid inside an object.
VALID = [body for value in VALUES for body in (value.encode(), within(value.encode()))]
INVALID = [
    *(value.encode() for value in INVALID_VALUES),
    *(within(value.encode()) for value in INVALID_VALUES),
    *INVALID_UTF8,
    *map(within, INVALID_UTF8),
    *OTHER_ENCODINGS,
]

STRINGS = [
    # Reserved words of programs.
    *("undefined", "undef", "null", "NULL", "(null)", "nil", "NIL", "None", "true", "false", "True"),
    *("hasOwnProperty", "__proto__", "constructor", "then", "toString", "NaN", "-NaN", "Infinity"),
    *("__class__", "__dict__", "self", "id", "_schema", "CON", "PRN", "AUX", "NUL", "COM1", "LPT1"),
    *("INF", "1#INF", "-1#IND", "0", "1", "-1", "00", "007", "1.00", "$1.00", "1/2", "1E2", "1E+02"),
    *("1e1000", "-1E2", "0x0", "0xffffffff", "0b1", "0o7", "1_000", "1,000", "1 000", "1'000", "1/0"),
    *("0/0", "-2147483648/-1", "2147483648", "9223372036854775808", "1e-400", "1..0", "--1", "+1"),
    *("२०३०", "١٢٣", "１２３", "½", "²", "Ⅻ", "⑩", "௧", "𝟙", "零", "9" * 500),
    # White space only, and at the ends.
    *(" ", "  ", " a", "a ", " a ", "\t", "\n", "\r", "\r\n", "a\r\nb", "\va", "\fa"),
    # Quotes, backslashes, patterns.
    *("'", "''", '"', '""', "`", "\\", "\\\\", "\\'", '\\"', "\\n", "\\0", "\\u0000", "\\x00", "\\ud800"),
    *("%", "%%", "_", "__", "*", "?", ".*", "^$", "[a-z]", "(?:a)*", "(a+)+$", "{0}", "{{7*7}}", "${7*7}"),
    *("%s", "%d", "%n%n%n%n", "%(a)s", "%00", "%0d%0a", "&amp;", "&#0;", "&lt;", "<", ">", "&", ";", "|"),
    *("#{7*7}", "<%= 7*7 %>", "{% raw %}", "$HOME", "$(id)", "`id`", "~root", "!!", "!1", ":q", "$1"),
    # Injections.
    *("' OR 1=1 -- ", "'; DROP TABLE tasks; --", "1; SELECT pg_sleep(9)", "' UNION SELECT 1 --", "') --"),
    *("\\'; DROP TABLE tasks; --", "x' AND '1'='1", "admin'--", "/**/", "0; VACUUM", "SLEEP(9)#", "\x1a'"),
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "<svg/onload=1>"),
    *("<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'c'>]>"),
    *("; ls", "| ls", "&& ls", "$(touch /tmp/x)", "() { :;}; echo", "@file", "-rf", "--help", "eval(1)"),
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "=cmd|' /C calc'!A0", "=HYPERLINK(\"a\")"),
    *("../../etc/passwd", "..\\..\\windows", "/dev/null", "file:///etc/passwd", "C:\\", "//a/b", "/proc/self"),
    *("http://127.0.0.1/", "http://[::1]/", "//evil.example", "\\\\evil.example\\a", "data:,a", "gopher://a"),
    *("${jndi:ldap://a/b}", "*)(uid=*", "' or '1'='1' or ''='", "{\"$gt\": \"\"}", "[object Object]", "O:1:\"a\""),
    *("a\r\nSet-Cookie: b=c", "a\nX-Injected: 1", "a\r\n\r\n<html>", "a\nERROR forged line", "\x1b[31mred\x1b[0m"),
    *("\x1b]0;title\x07", "\x1b[2J", "\r\x1b[K", "%0aERROR", "\x9b31m"),
    # Every control character but NUL.
    *(f"a{chr(code)}b" for code in (*range(1, 0x20), *range(0x7F, 0xA0))),
    # Unicode white space and invisible characters.
    *(f"a{chr(code)}b" for code in (0xA0, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F)),
    *(f"a{chr(code)}b" for code in (0x205F, *range(0x2060, 0x2065), *range(0x2066, 0x206A), 0x3000)),
    *(f"a{chr(code)}b" for code in (0xAD, 0x34F, 0x61C, 0x115F, 0x17B4, 0x180E, 0x3164, 0xFFA0, 0xFEFF)),
    *(f"a{chr(code)}b" for code in (*range(0x202A, 0x202F), *range(0xFFF9, 0xFFFE), 0xE0001, 0xE0061)),
    # Noncharacters and private use characters.
    *(chr(code) for code in (0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x1FFFF, 0x10FFFE, 0x10FFFF)),
    *(chr(code) for code in (0xE000, 0xF8FF, 0xF0000, 0x100000, 0xD7FF, 0x10000, 0xFFFD)),
    # Characters that change length by case mapping or normalization.
    *("ß", "ẞ", "straße", "STRASSE", "ŉ", "ǰ", "ΐ", "ΰ", "և", "ẖ", "ﬀ", "ﬃ", "ﬆ", "ﬓ", "İ", "ı", "ſ"),
    *("\u212a", "\u212b", "\u2126", "ς", "Σ", "ÅÄÖ", "\u00c5", "é", "e\u0301", "\u1ed9", "o\u0323\u0302", "\uac01", "\u1100\u1161\u11a8", "ﷺ"),
    *("Ǆ", "ǅ", "ǆ", "Ⱥ", "ⱥ", "Ꭰ", "ꭰ", "ა", "Ა", "𐐀", "𐐨", "𝐀", "Ａ", "ａ", "Ⓐ", "ª", "ﬁ", "Ĳ", "ŀ"),
    # Scripts, text directions and combining marks.
    *("العربية", "עברית", "a עברית b", "ภาษาไทย", "हिन्दी", "বাংলা", "தமிழ்", "한국어", "日本語", "中文", "𠜎𠜱"),
    *("Ελληνικά", "Русский", "Українська", "ქართული", "Հայերեն", "አማርኛ", "ᏣᎳᎩ", "ᠮᠣᠩᠭᠣᠯ", "བོད", "𒀀𒀁", "𓀀"),
    *("ด้้้้้็็็็็้้", "Z̸̧̛a̵͘l̶̈g̷͝o̴̕", "a" + "\u0301" * 500, "\u0301a", "\u200fa\u200e", "\u202eabc\u202c", "เ"),
    # Emoji of one and of several code points.
    *("😀", "❤️", "❤", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇨🇭", "🇨", "1️⃣", "👩🏽‍🚀", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☃", "¯\\_(ツ)_/¯", "ಠ_ಠ"),
    *("🙂" * 500, "﷽", "𒐫", "꧅"),
    # Long strings.
    *("a" * 20_000, "字" * 20_000, "\U0001f600" * 20_000, "'" * 20_000, "\\" * 20_000, "%" * 20_000),
    *("a " * 10_000, "\n" * 20_000, "\u0301" * 20_000, "[" * 20_000, "<" * 20_000, '"' * 20_000),
    "",
]  # fmt: skip
