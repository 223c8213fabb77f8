"""``expand``: unroll a p-graph for given sizes (compiler.md, "Streams"; the paper's e-graph).

Groups are cut by item index. A group on a stream edge waits for those of the producer's tasks that
hold its items, a whole edge for all of them; where a producer gives more or fewer items than it
takes, they are spread evenly over what it takes. A scan takes each input in its turn, group by
group, and what has come out is a prefix. A call is one prefill and one decode; where items of an
``early`` list are streamed, the decode is cut in as many parts, so that item i is there when part i
has ended. Order and effect edges hold whole nodes back.
"""

from __future__ import annotations

from teola.compiler.cost.sizes import Sizes
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand_primitives import call, groups, hint, scan
from teola.compiler.graph.expand_regions import REGIONS
from teola.compiler.graph.operations import OPERATIONS
from teola.compiler.graph.pgraph import PGraph, Region
from teola.compiler.graph.unrolling import MAX_TASKS, ExpansionError, Scope, Unrolling, Value

__all__ = ["MAX_TASKS", "EGraph", "ExpansionError", "Task", "expand"]


def expand(graph: PGraph, sizes: Sizes | None = None, *, most: int = MAX_TASKS) -> EGraph:
    """Unroll ``graph`` for ``sizes``; what these leave open is assumed (``cost.shapes``).

    Raises:
        ExpansionError: more than ``most`` tasks; the message says which sizes to lower.
    """
    return _Expansion(graph, sizes or Sizes(), most).run()


class _Expansion(Unrolling):
    def run(self) -> EGraph:
        top = Scope(None, "", (), (), 0)
        self.body("", top)
        outputs = {}
        for out in self.graph.outputs:
            outputs[out.name] = self.whole(self.value(out.ref, top))
        return self.egraph(outputs)

    def body(self, region: str, scope: Scope) -> None:
        """Unroll a region's nodes once."""
        for node in self.bodies.get(region, ()):
            waits = self.gates(node, scope)
            if isinstance(node, Region):
                whole = REGIONS[node.kind](self, node, scope, waits)
            elif OPERATIONS[node.operation].hint:
                hint(self, node, scope, waits)
                continue
            elif node.id in self.heads:
                whole = call(self, node, self.heads[node.id], scope, waits)
            elif any(kind == "scan" for kind in self.lists(node).values()):
                whole = scan(self, node, scope, waits)
            else:
                whole = groups(self, node, scope, waits)
            scope.ends[node.id] = Value(node.id, scope.path, 0, whole)
