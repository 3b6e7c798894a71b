"""The widget of lesson 06: talk to the model, and watch it write."""

from __future__ import annotations

import contextlib
import html
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.classroom import live
from course_lib.lm import lora
from course_lib.lm.generate import Sampling, stream
from course_lib.lm.gpt import GPT
from course_lib.worlds.pretrained import chat_tokens

SYSTEMS = ("default", "none", "own")
LONGEST = 1_000  # tokens of a question: half a minute to read on a slow core


@dataclass(frozen=True)
class Reply:
    """What the model has written so far, and how fast."""

    text: str
    tokens: int  # written, the one that ends the reply among them
    seconds: float  # since the first of them
    reading: float  # seconds before the first of them
    ended: bool  # by its own end-of-sequence token
    adapted: bool = False  # written with LoRA adapters

    def status(self, busy: bool = False) -> str:
        """Speed and ending in words; `busy` while it is still being written."""
        if not self.tokens:
            return "reading ..."
        speed = f", {(self.tokens - 1) / self.seconds:.0f} tokens/s" if self.seconds else ""
        ending = "ended by itself" if self.ended else "still writing" if busy else "cut off"
        adapters = ", with LoRA adapters" if self.adapted else ""
        return (
            f"{self.tokens} tokens{speed} after {self.reading:.1f} s of reading; {ending}{adapters}"
        )


class Talk:
    """A line to type into, and the model's reply as it is written.

    Each question begins a new conversation. The first is answered at once, in at most 40 tokens.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Any,
        question: str = "What is the capital of France?",
        max_new_tokens: int = 120,
    ):
        self.model, self.tokenizer = model, tokenizer
        self.temperature = 0.0  # 0 to 1.5; 0 writes the most probable token each time
        self.max_new_tokens = max_new_tokens
        self.system = "default"  # the template's own system prompt, none, or `own_system`
        self.own_system = "You answer like a pirate."
        self.adapters = True  # where the model has LoRA adapters: use them
        self.asked = 0  # questions so far: each draws with its own seed
        self.question = question
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.reply = Reply("", 0, 0.0, 0.0, False)
        self.error = ""
        for reply in self.answer(question, min(40, max_new_tokens)):
            self.reply = reply

    def prepare(self, question: str) -> list[int]:
        """Token numbers of the conversation up to the reply. Errors are sentences."""
        if not question.strip():
            raise ValueError("The question is empty: type something first.")
        # A token is at least one byte long: no need to tokenise a novel to see that it is one.
        if len(question) > 100 * LONGEST:
            raise ValueError(
                f"Your text has {len(question):,} characters, far more than the {LONGEST:,} tokens "
                "that this widget reads: shorten it."
            )
        messages = [{"role": "user", "content": question}]
        if self.system == "default":
            tokens = chat_tokens(self.tokenizer, messages)
        else:
            own = self.own_system if self.system == "own" else ""
            tokens = chat_tokens(self.tokenizer, [{"role": "system", "content": own}, *messages])
            if self.system == "none":  # the template has no way to leave it out: cut it off
                tokens = tokens[len(self._system_tokens()) :]
        if len(tokens) > LONGEST:
            raise ValueError(
                f"Your text has {len(tokens):,} tokens, and this widget reads at most {LONGEST:,}: "
                "shorten it."
            )
        return tokens

    def _system_tokens(self) -> list[int]:
        """An empty message by the system, alone."""
        text = self.tokenizer.apply_chat_template(
            [{"role": "system", "content": ""}], tokenize=False
        )
        return self.tokenizer.encode(text, add_special_tokens=False)

    def answer(self, question: str, max_new_tokens: int | None = None) -> Iterator[Reply]:
        """The reply as it grows, token by token, until its end, its limit or `stop`."""
        tokens = self.prepare(question)
        self.question, self.asked = question, self.asked + 1
        end = self.tokenizer.eos_token_id
        sampling = Sampling(
            max_new_tokens=max_new_tokens or self.max_new_tokens,
            temperature=self.temperature,
            stop_tokens=(end,),
        )
        generator = torch.Generator().manual_seed(self.asked)
        written: list[int] = []
        adapted = self.adapters and bool(lora.adapters(self.model))
        begun, first = time.perf_counter(), 0.0
        with _adapters(self.model, self.adapters):
            for token in stream(self.model, torch.tensor(tokens), sampling, generator):
                written.append(token)
                now = time.perf_counter()
                first = first or now
                # A character may be spread over several tokens: leave out an unfinished last one.
                text = self.tokenizer.decode(written, skip_special_tokens=True).rstrip("\ufffd")
                times = now - first, first - begun
                yield Reply(text, len(written), *times, token == end, adapted)
                if self._stop.is_set():
                    return

    def stop(self) -> None:
        """End the reply after the present token."""
        self._stop.set()

    def busy(self) -> bool:
        """Whether a reply is being written."""
        return self._thread is not None

    def ask(self, question: str, show) -> threading.Thread:
        """Write the reply in the background and call `show()` after every token.

        In the background, as the kernel would otherwise not hear of the Stop button.
        """
        if self.busy():
            raise ValueError("The model is still writing: press Stop first.")
        threads = torch.get_num_threads()

        def write() -> None:
            torch.set_num_threads(threads)  # a new thread would start with all cores
            try:
                for reply in self.answer(question):
                    self.reply = reply
                    show()
            except Exception as error:  # nobody else would hear of it
                self.error = str(error) or type(error).__name__
            self._thread = None
            show()

        self._stop.clear()
        self.error, self.reply = "", Reply("", 0, 0.0, 0.0, False)
        self._thread = thread = threading.Thread(target=write, daemon=True)
        thread.start()
        return thread

    def __repr__(self) -> str:
        if self.error:
            return self.error
        return f"You: {self.question}\nModel: {self.reply.text}\n({self.reply.status(self.busy())})"

    def as_html(self) -> str:
        """The same as HTML."""
        if self.error:
            return live.wrong(self.error)
        box = "white-space:pre-wrap;max-width:80ch;line-height:1.5;padding:4px 0 4px 12px"
        return (
            f"<div style='{box}'><b>You:</b> {html.escape(self.question)}</div>"
            f"<div style='{box};border-left:4px solid #0072B2' aria-live='polite'>"
            f"<b>Model:</b> {html.escape(self.reply.text)}</div>"
            f"<div style='{box};opacity:.75'>{html.escape(self.reply.status(self.busy()))}</div>"
        )

    def widget(self):
        """The live form: a line to type into, two buttons, the settings, the reply."""
        import ipywidgets as widgets

        line = widgets.Textarea(value=self.question, description="question", rows=2)
        send = widgets.Button(description="Send", button_style="primary", icon="play")
        stop = widgets.Button(description="Stop", icon="stop", disabled=True)
        heat = live.slider("temperature", self.temperature, 0.0, 1.5, 0.1)
        limit = live.slider("most tokens", self.max_new_tokens, 10, 400, 1)
        system = live.menu("system prompt", SYSTEMS[0], SYSTEMS)
        own = widgets.Text(value=self.own_system, description="own prompt")
        switch = live.switch("LoRA adapters", self.adapters)
        (page,), show_reply = live.follow(page=self.as_html)
        live.align([line, heat, limit, system, own, switch])

        def offer() -> None:
            """What can be set now: adapters may come and go after the widget was made."""
            switch.layout.display = None if lora.adapters(self.model) else "none"
            own.layout.display = None if system.value == "own" else "none"

        def show() -> None:
            show_reply()
            send.disabled, stop.disabled = self.busy(), not self.busy()

        def sent(_) -> None:
            self.temperature, self.max_new_tokens = heat.value, limit.value
            self.system, self.own_system = system.value, own.value
            self.adapters = switch.value
            offer()
            try:
                self.prepare(line.value)
                self.ask(line.value, show)
            except ValueError as error:
                page.value = live.wrong(error)
                return
            show()

        offer()
        send.on_click(sent)
        stop.on_click(lambda _: self.stop())
        system.observe(lambda _: offer(), "value")
        buttons = widgets.HBox([send, stop], layout={"margin": "0 0 0 8.5em"})
        return widgets.VBox([line, buttons, heat, limit, system, own, switch, page])

    _repr_mimebundle_ = live.bundle


talk = Talk


@contextlib.contextmanager
def _adapters(model: GPT, on: bool) -> Iterator[None]:
    """The model without the correction of its adapters, unless `on`; as before afterwards."""
    layers = [] if on else list(lora.adapters(model).values())
    scales = [layer.scale for layer in layers]
    for layer in layers:
        layer.scale = 0.0
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale
