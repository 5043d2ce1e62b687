"""A service read page by page, and what is new on it: examples/yaml/new_articles.yaml in Python.

Every new article is worked on in a process of its own. The run remembers what it has seen, so that the next one takes
only what is new. The token is read from a file, and is in no output and no error. `page` plays the service; a real
one would ask over the network there.

Instead of:   a loop around requests, the token in a global that any traceback may print, a pool of processes for the
              articles, and a file of their names, which two such programs at once tear apart.

Data:     echo ARTICLES_TOKEN=oolong-before-noon > /tmp/articles.env
Run it:   python examples/python/new_articles.py /tmp/articles.env /tmp/articles.db
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import teastreams as ts

PAGE = 3
KNOWN_SHA256 = "1ef03e3b130beb5105dd94148277a841396888d2495ba5933a6ac698ecdc1619"
LEAVES = ("Assam", "Ceylon", "Darjeeling", "Gyokuro", "Keemun", "Lapsang", "Matcha", "Oolong")
ARTICLES = [{"id": leaf.lower(), "title": leaf, "text": f"{leaf} is tea. " * len(leaf)} for leaf in LEAVES]


def page(cursor: int, context: ts.Context) -> dict:
    """The articles from `cursor` on, and the cursor of the next page, None after the last one."""
    token = context.secrets["ARTICLES_TOKEN"].reveal()
    if hashlib.sha256(token.encode()).hexdigest() != KNOWN_SHA256:
        raise PermissionError(f"the service does not know the token {token}")
    end = cursor + PAGE
    return {"articles": ARTICLES[cursor:end], "next": end if end < len(ARTICLES) else None}


def keep(state: dict, context: ts.Context) -> dict:
    arrived = page(state.get("cursor", 0), context)
    articles = state.get("articles", []) + arrived["articles"]
    return {"articles": articles, "cursor": arrived["next"], "pages": state.get("pages", 0) + 1}


def more(state: dict) -> bool:
    return state.get("cursor", 0) is not None


def choose(state: dict, context: ts.Context) -> dict:
    return {"articles": [each for each in state["articles"] if context.memory.retrieve(each["id"]) is None]}


def new_articles(state: dict) -> Any:
    return state["articles"]


def count(state: dict) -> dict:
    return {"title": state["article"]["title"], "words": len(state["article"]["text"].split())}


def remember(state: dict, context: ts.Context) -> None:
    for each in state["articles"]:
        context.memory.store(each["id"], each["title"])


def main(token_file: str, database: str) -> None:
    turn = ts.StateGraph().add_node("keep", run=keep)
    graph = ts.StateGraph(secrets=ts.SecretSources(files=(token_file,)), memory=database)
    graph.add_loop("read", turn, condition=more, max_iterations=100)
    graph.add_node("choose", run=choose)
    options = {"item_var": "article", "max_concurrency": 4, "strategy": "process", "output": "words"}
    graph.add_each("count", new_articles, count, **options)
    graph.add_node("remember", run=remember)
    for source, target in zip(("read", "choose", "count"), ("choose", "count", "remember")):
        graph.add_edge(source, target)
    state = graph.set_entry_point("read").set_finish_point("remember").compile().run().state
    new = {each["title"]: each["words"] for each in state["words"]}
    print(json.dumps({"pages": state["pages"], "new": new}, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
