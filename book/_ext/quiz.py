"""A directive for a short self-check: a question, and answers that each open to say whether and why.

    ```{quiz} Which of these is a counterfactual?
    - [ ] Another clip of the same person :: It differs in many causes at once.
    - [x] The same clip with another background :: One cause changed, all others kept their draws.
    ```

It needs no script: an answer is a `<details>` element, which the keyboard opens too, and in print all of it stays readable.
"""

import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ITEM = re.compile(r"^- \[(?P<mark>[ x])\] (?P<answer>.+?) :: (?P<why>.+)$")


class quiz(nodes.General, nodes.Element):
    """The whole question."""


class quiz_answer(nodes.General, nodes.Element):
    """One answer: first child what is offered, second child the verdict."""


class Quiz(SphinxDirective):
    """`{quiz} question`, one answer a line; the lines that follow an answer, indented, belong to it."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The nodes; a line of another form is an error of the page."""
        answers: list[str] = []
        for line in self.content:
            if line.startswith("- ["):
                answers.append(line)
            elif line.strip() and answers:
                answers[-1] += " " + line.strip()
        found = [ITEM.match(answer) for answer in answers]
        if len(found) < 2 or not all(found):
            raise self.error("quiz: give two answers or more, each of the form `- [x] answer :: why` or `- [ ] answer :: why`")
        if not any(item["mark"] == "x" for item in found):
            raise self.error("quiz: no answer is marked [x]")
        whole = quiz()
        whole += self._text(self.arguments[0].replace("\n", " "))
        for item in found:
            one = quiz_answer(right=item["mark"] == "x")
            one += self._text(item["answer"])
            one += self._text(("**Yes.** " if item["mark"] == "x" else "**No.** ") + item["why"])
            whole += one
        return [whole]

    def _text(self, text: str) -> nodes.Element:
        box = nodes.container()
        self.state.nested_parse(StringList([text], source=self.get_source_info()[0]), self.content_offset, box)
        return box


def _inline(translator, node: nodes.Element) -> None:
    """The children of a one-paragraph container, without the paragraph."""
    for child in node.children[0].children if node.children and isinstance(node.children[0], nodes.paragraph) else node.children:
        child.walkabout(translator)


def visit_quiz(translator, node: quiz) -> None:
    """Question and answers."""
    translator.body.append('<section class="quiz" role="group" aria-label="Self-check"><p class="quiz-question">')
    _inline(translator, node.children[0])
    translator.body.append("</p>")
    for answer in node.children[1:]:
        kind = "right" if answer["right"] else "wrong"
        translator.body.append('<details class="quiz-answer"><summary>')
        _inline(translator, answer.children[0])
        translator.body.append(f'</summary><p class="quiz-verdict quiz-{kind}">')
        _inline(translator, answer.children[1])
        translator.body.append("</p></details>")
    translator.body.append("</section>")
    raise nodes.SkipNode


def skip(translator, node: nodes.Node) -> None:
    """Other formats have no self-checks."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    """Register the directive and its nodes."""
    app.add_node(quiz, html=(visit_quiz, None), latex=(skip, None), text=(skip, None))
    app.add_node(quiz_answer, html=(skip, None), latex=(skip, None), text=(skip, None))
    app.add_directive("quiz", Quiz)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
