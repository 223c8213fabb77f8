"""Prompts: Jinja templates over plain data, cut into ordered parts (language.md, rule 13).

One environment everywhere: the compiler reads which variables a prompt needs and when, the runtime
renders with it.
"""

from teola.compiler.prompts.budget import Budget
from teola.compiler.prompts.errors import BudgetError, PromptError
from teola.compiler.prompts.messages import render_messages, splice
from teola.compiler.prompts.template import Part, Template, template

__all__ = [
    "Budget",
    "BudgetError",
    "Part",
    "PromptError",
    "Template",
    "render_messages",
    "splice",
    "template",
]
