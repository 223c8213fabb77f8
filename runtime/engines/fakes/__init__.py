"""Deterministic engines without models, for users' own tests and for measuring the schedulers.

Every result is a function of its item alone and differs for different items (hashes), so that a
wrong order, a lost item or a mixed-up batch shows. With their latencies at 0 (the default) they
return at once; otherwise time passes on the event loop's clock, real or virtual.

Besides the settings of `teola.compiler.engines` their configs take failures to inject:

``fail_items``    texts; an item that contains one of them fails (kind ``item``)
``memory_items``  a batch with more items fails (kind ``memory``)
``die_after``     after so many batches (LLM: submissions) the engine dies in the next
"""
