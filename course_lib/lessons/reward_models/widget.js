// Two replies, and four things to do. All state lives in Python; this file only shows it.

const KEYS = {
  ArrowLeft: "left", a: "left", A: "left",
  ArrowRight: "right", b: "right", B: "right",
  t: "tie", T: "tie",
  u: "undo", U: "undo",
};

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function button(name, text, label, act) {
  const made = element("button", name, text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function render({ model, el }) {
  const send = (action) => model.send({ action, done: model.get("view").done });

  const root = element("div", "preferences");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  root.setAttribute(
    "aria-label",
    "Which reply is better? Left arrow or A: the left one. Right arrow or B: the right one. " +
      "T: a tie. U: undo.",
  );
  // JupyterLab would insert cells at A and B.
  root.dataset.lmSuppressShortcuts = "true";

  const question = element("p", "preferences-question");
  const asks = element("b", "", "A guest asks: ");
  const prompt = element("span", "");
  const note = element("i", "preferences-note");
  question.append(asks, prompt, note);

  const replies = {};
  const row = element("div", "preferences-row");
  for (const side of ["left", "right"]) {
    const reply = button("preferences-reply", "", "", () => send(side));
    const name = element("span", "preferences-name", side === "left" ? "A" : "B");
    const text = element("span", "");
    reply.append(name, text);
    replies[side] = { reply, text };
    row.append(reply);
  }

  const controls = element("div", "preferences-controls");
  const buttons = {
    left: button("", "← A is better", "The left reply, A, is better", () => send("left")),
    tie: button("", "Tie (T)", "The two are equally good", () => send("tie")),
    right: button("", "B is better →", "The right reply, B, is better", () => send("right")),
    undo: button("", "Undo (U)", "Take the latest label back", () => send("undo")),
  };
  controls.append(...Object.values(buttons));

  const foot = element("div", "preferences-foot");
  const bar = document.createElement("progress");
  bar.setAttribute("aria-label", "pairs labelled");
  const status = element("span", "preferences-status");
  status.setAttribute("aria-live", "polite");
  foot.append(bar, status);
  const help = element("p", "preferences-help", "Click here once, then use the keys ← → T U.");

  root.append(question, row, controls, foot, help);
  el.append(root);

  root.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const view = model.get("view");
    if (action === "undo" ? view.undo : view.open) send(action);
  });

  function show() {
    const view = model.get("view");
    root.classList.toggle("preferences-damaged", view.damaged);
    prompt.textContent = view.prompt;
    note.textContent = view.note;
    question.hidden = row.hidden = !view.open;
    for (const [side, name] of [["left", "A"], ["right", "B"]]) {
      const { reply, text } = replies[side];
      text.textContent = view[side];
      reply.setAttribute("aria-label", `Reply ${name}: ${view[side]}. Choose it as the better one`);
      reply.disabled = !view.open;
    }
    // A button that is disabled loses the focus: keep it inside, for the next key.
    const inside = root.contains(document.activeElement);
    for (const name of ["left", "tie", "right"]) buttons[name].disabled = !view.open;
    buttons.undo.disabled = !view.undo;
    if (inside && !root.contains(document.activeElement)) root.focus();
    bar.max = view.total;
    bar.value = view.done;
    bar.hidden = view.damaged;
    status.textContent = view.status;
  }

  model.on("change:view", show);
  show();
  return () => model.off("change:view", show);
}

export default { render };
