// Two screens and the keys of a game. All state lives in Python; this file only shows it.

const KEYS = {
  ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down",
  " ": "fire", s: "stay", S: "stay",
  r: "reset", R: "reset", c: "chance", C: "chance", g: "go", G: "go",
};
const ARROWS = { left: "←", right: "→", up: "↑", down: "↓" };
const CELL = 28; // pixels
const BEAT = 180; // milliseconds between two steps while the game goes on by itself

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function button(text, label, act) {
  const made = element("button", "", text);
  made.type = "button";
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function screen(title) {
  const figure = element("figure", "");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  const caption = element("figcaption", "");
  const score = element("span", "dream-score");
  caption.append(element("b", "", title), score);
  figure.append(canvas, caption);
  return { figure, canvas, score, title };
}

function paint(canvas, cells, size, colours, wrong) {
  const [height, width] = size;
  canvas.width = width * CELL;
  canvas.height = height * CELL;
  const pen = canvas.getContext("2d");
  cells.forEach((what, i) => {
    pen.fillStyle = colours[what];
    pen.fillRect((i % width) * CELL, Math.floor(i / width) * CELL, CELL, CELL);
  });
  for (const i of wrong) {
    const x = (i % width) * CELL, y = Math.floor(i / width) * CELL;
    for (const [colour, line] of [["#ffffff", 6], ["#d00000", 3]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.beginPath();
      pen.moveTo(x + 4, y + 4);
      pen.lineTo(x + CELL - 4, y + CELL - 4);
      pen.moveTo(x + CELL - 4, y + 4);
      pen.lineTo(x + 4, y + CELL - 4);
      pen.stroke();
    }
  }
}

function render({ model, el }) {
  const actions = model.get("actions");
  const delays = [];
  let press = 0; // number of the latest message to Python
  let waiting = null; // when that message was sent; null while Python owes nothing
  let queued = null; // the latest key that came meanwhile
  let beat = null; // the timer of a game that goes on by itself
  let held = null; // the key held down meanwhile

  function send(action) {
    if (waiting !== null) {
      queued = action;
      return;
    }
    waiting = performance.now();
    press += 1;
    model.send({ action, press });
  }

  function go() {
    if (beat === null) {
      beat = setInterval(() => send(held || "stay"), BEAT);
    } else {
      clearInterval(beat);
      beat = null;
    }
    buttons.go.setAttribute("aria-pressed", String(beat !== null));
  }

  const root = element("div", "dream");
  root.tabIndex = 0;
  root.setAttribute("role", "group");
  const keys = { ...ARROWS, fire: "space", stay: "S" };
  const ways = actions.map((name) => `${keys[name]} ${name}`).join(", ");
  root.setAttribute(
    "aria-label",
    `Play the real game and the dream at once. Keys: ${ways}. G: go on by itself. ` +
      "C: chance. R: begin anew.",
  );
  // JupyterLab would act on these keys.
  root.dataset.lmSuppressShortcuts = "true";

  const screens = { real: screen("real game"), dream: screen("dream") };
  const row = element("div", "dream-screens");
  row.append(screens.real.figure, screens.dream.figure);

  const controls = element("div", "dream-controls");
  const buttons = {};
  for (const name of actions) {
    buttons[name] = button(ARROWS[name] || name, `one step: ${name}`, () => send(name));
  }
  buttons.go = button("go (G)", "go on by itself, or stop", go);
  buttons.chance = button("chance (C)", "with chance, or without", () => send("chance"));
  buttons.reset = button("begin anew (R)", "begin anew from another state", () => send("reset"));
  buttons.go.setAttribute("aria-pressed", "false");
  controls.append(...Object.values(buttons));

  const truth = element("div", "dream-truth");
  const meter = document.createElement("meter");
  meter.min = 0;
  meter.max = 1;
  meter.low = 0.9;
  meter.high = 0.995;
  meter.optimum = 1;
  meter.setAttribute("aria-label", "truth meter: share of cells in which dream and game agree");
  const share = element("span", "dream-share");
  const delay = element("span", "dream-delay");
  truth.append(element("span", "", "truth"), meter, share, delay);
  const status = element("p", "dream-status");
  const news = element("p", "dream-news");
  news.setAttribute("aria-live", "polite"); // spoken only where something ends or begins
  news.style.cssText = "position:absolute;clip-path:inset(50%);width:1px;height:1px;margin:0";
  const help = element("p", "dream-help", `Click here once, then use the keys: ${ways}.`);

  root.append(row, controls, truth, status, news, help);
  el.append(root);

  root.addEventListener("keydown", (event) => {
    const action = KEYS[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    const pressed = event.target !== root && event.key === " "; // a button's own key
    const known = actions.includes(action) || ["reset", "chance", "go"].includes(action);
    if (pressed || !known) return;
    event.preventDefault();
    event.stopPropagation();
    if (action === "go") {
      if (!event.repeat) go();
    } else if (beat !== null && actions.includes(action)) {
      held = action;
    } else {
      send(action);
    }
  });
  root.addEventListener("keyup", (event) => {
    if (KEYS[event.key] === held) held = null;
  });

  function show() {
    const view = model.get("view");
    for (const [name, { figure, canvas, score, title }] of Object.entries(screens)) {
      const wrong = name === "dream" ? view.wrong : [];
      paint(canvas, view.cells[name], view.size, model.get("colours"), wrong);
      canvas.setAttribute("aria-label", `${title}: ${view.words[name]}`);
      score.textContent = `score ${view.score[name]}${view.over[name] ? ", game over" : ""}`;
      figure.classList.toggle("dream-over", view.over[name]);
    }
    meter.value = view.truth;
    share.textContent = `${Math.round(100 * view.truth)} % of the cells agree`;
    status.textContent = view.status;
    buttons.chance.setAttribute("aria-pressed", String(view.chance));
    if (view.steps === 0 || view.over.real || view.over.dream) news.textContent = view.status;
    root.dataset.steps = view.steps;
    if (waiting !== null && view.press === press) {
      requestAnimationFrame(() => answered(performance.now()));
    }
  }

  function answered(now) {
    delays.push(now - waiting);
    const middle = [...delays].sort((a, b) => a - b)[delays.length >> 1];
    delay.textContent = `${Math.round(middle)} ms from key to frame`;
    root.dataset.delays = JSON.stringify(delays.slice(-200).map((x) => Math.round(10 * x) / 10));
    waiting = null;
    if (queued !== null) {
      const next = queued;
      queued = null;
      send(next);
    }
  }

  model.on("change:view", show);
  show();
  return () => {
    clearInterval(beat);
    model.off("change:view", show);
  };
}

export default { render };
