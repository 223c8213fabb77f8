"""The committed JSON Schemas are those that the compiler's models give."""

from teola.compiler import schema


def test_schemas_are_fresh(capsys):
    """After a change of the language or of the plan: `make schemas`."""
    assert schema.main(["--check"]) == 0, capsys.readouterr().out
