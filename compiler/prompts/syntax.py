"""What is wrong with a template's syntax, in our words."""

from __future__ import annotations

import re

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (
            r".*looking for the following tags: .*to be closed is '(?P<open>\w+)'",
            "`{{% {open} %}}` is not closed by `{{% end{open} %}}`",
        ),
        (
            r"Encountered unknown tag '(?P<tag>end\w+)'",
            "`{{% {tag} %}}` closes nothing that is open",
        ),
        (r"Encountered unknown tag '(?P<tag>\w+)'", "there is no tag `{{% {tag} %}}`"),
        (
            r"expected token 'end of print statement', got '(?P<sign>.*)'",
            "`{sign}` does not belong here: `{{{{ … }}}}` holds one expression",
        ),
        (
            r"unexpected '(?P<sign>.+)', expected '(?P<wanted>.+)'",
            "expected `{wanted}`, got `{sign}`",
        ),
        (
            r".*expected 'end of print statement'|.*got 'end of print statement'",
            "`{{{{` is not closed by `}}}}`, or nothing stands between them",
        ),
        (
            r".*(expected|got) 'end of statement block'",
            "`{{%` is not closed by `%}}`, or something is missing before that",
        ),
        (r"Missing end of comment tag", "`{{#` is not closed by `#}}`"),
        (r"unexpected char (?P<char>.+) at \d+", "{char} does not belong here"),
        (r"unexpected '(?P<sign>.+)'$", "`{sign}` does not belong here"),
        (r"expected token '(?P<wanted>.+)', got '(?P<got>.+)'", "expected `{wanted}`, got `{got}`"),
        (r"unexpected end of template", "the template ends too early: something is not closed"),
    )
)


def explained(message: str) -> str:
    """What Jinja says about a template's syntax, said so that a workflow's author understands."""
    for pattern, said in _PATTERNS:
        if match := pattern.match(message):
            return said.format(**match.groupdict())
    return f"the template cannot be read: {message[:1].lower()}{message[1:].rstrip('.')}"
