"use strict";

const FACTS = JSON.parse(document.getElementById("facts").textContent);
const details = document.getElementById("details");
const hint = details.innerHTML;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const panels = all("[role=tabpanel]");
document.documentElement.classList.add("js");

/* Zoom and pan. Viewports side by side share one view, so that they show the same place. */
const LEAST = 0.02, MOST = 6, READABLE = 0.92, MARGIN = 8;
const views = new Map();
for (const panel of panels) {
  const view = { x: 0, y: 0, scale: 1, fitted: false, ports: all(".viewport", panel) };
  for (const port of view.ports) {
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    canvas.append(...port.childNodes);
    port.append(canvas);
    views.set(port, view);
  }
}
for (const svg of all(".picture")) {
  svg.style.width = svg.viewBox.baseVal.width + "px";
  svg.style.height = svg.viewBox.baseVal.height + "px";
}

/* What there is room for, and what is to be shown in it (of several, the largest). */
function extent(view) {
  const canvases = view.ports.map((port) => port.firstElementChild);
  const most = (side) => Math.max(...canvases.map((canvas) => canvas[side]));
  const [port] = view.ports;
  return { wide: port.clientWidth - 2 * MARGIN, high: port.clientHeight - 2 * MARGIN, width: most("offsetWidth"), height: most("offsetHeight") };
}

/* Its edges are never further in than those of the viewport; what is narrower stands in the middle. */
function show(view) {
  const { wide, high, width, height } = extent(view);
  const right = wide - width * view.scale, below = high - height * view.scale;
  view.x = MARGIN + (right > 0 ? right / 2 : Math.min(0, Math.max(right, view.x - MARGIN)));
  view.y = MARGIN + (below > 0 ? 0 : Math.min(0, Math.max(below, view.y - MARGIN)));
  for (const port of view.ports) {
    const canvas = port.firstElementChild;
    canvas.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    port.dataset.scale = view.scale.toFixed(3);
    const hidden = { "←": -view.x, "↑": -view.y, "↓": view.y + canvas.offsetHeight * view.scale - port.clientHeight, "→": view.x + canvas.offsetWidth * view.scale - port.clientWidth };
    port.dataset.more = Object.keys(hidden).filter((way) => hidden[way] > 1).join(" ");
  }
}

/* All of it, or as much from its beginning on as leaves it readable. */
function fit(view, least = LEAST) {
  const { wide, high, width, height } = extent(view);
  view.scale = Math.max(Math.min(wide / width, high / height, 1.5), least);
  view.x = view.y = MARGIN;
  view.fitted = true;
  show(view);
}

function move(view, right, down) {
  view.x += right;
  view.y += down;
  show(view);
}

function zoom(view, factor, x, y) {
  const scale = Math.min(MOST, Math.max(LEAST, view.scale * factor));
  view.x = x - (x - view.x) * scale / view.scale;
  view.y = y - (y - view.y) * scale / view.scale;
  view.scale = scale;
  show(view);
}

const middle = (port) => [port.clientWidth / 2, port.clientHeight / 2];
for (const [port, view] of views) {
  port.addEventListener("wheel", (event) => {
    event.preventDefault();
    const at = port.getBoundingClientRect(), unit = event.deltaMode ? 33 : 1;
    if (event.ctrlKey || event.metaKey) zoom(view, Math.exp(-event.deltaY * unit * 0.003), event.clientX - at.left, event.clientY - at.top);
    else move(view, -event.deltaX * unit, -event.deltaY * unit);
  }, { passive: false });
  let from = null;
  port.addEventListener("pointerdown", (event) => {
    if (event.button === 0) from = { x: event.clientX - view.x, y: event.clientY - view.y, id: event.pointerId, moved: false, at: [event.clientX, event.clientY] };
  });
  port.addEventListener("pointermove", (event) => {
    if (!from) return;
    if (!from.moved && Math.hypot(event.clientX - from.at[0], event.clientY - from.at[1]) < 4) return;
    if (!from.moved) port.setPointerCapture(from.id);
    from.moved = true;
    port.classList.add("held");
    view.x = event.clientX - from.x;
    view.y = event.clientY - from.y;
    show(view);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    port.addEventListener(end, (event) => {
      const moved = from && from.moved;
      from = null;
      port.classList.remove("held");
      if (end === "pointerup" && !moved) keep(event.target.closest(".box"));
    });
  }
  port.addEventListener("keydown", (event) => {
    const steps = { "+": 1.25, "=": 1.25, "-": 0.8 };
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key in steps) zoom(view, steps[event.key], ...middle(port));
    else if (event.key === "0") fit(view);
    else if (event.key === "1") fit(view, READABLE);
    else if (event.key in moves && (event.shiftKey || event.target === port)) move(view, ...moves[event.key]);
    else if (event.key in moves) step(event.target.closest(".box"), event.key);
    else return;
    event.preventDefault();
  });
}
for (const button of all("[data-zoom]")) {
  button.addEventListener("click", () => {
    const port = button.closest("[role=tabpanel]").querySelector(".viewport");
    const view = views.get(port);
    if (button.dataset.zoom === "fit") fit(view);
    else if (button.dataset.zoom === "read") fit(view, READABLE);
    else zoom(view, button.dataset.zoom === "in" ? 1.25 : 0.8, ...middle(port));
  });
}
addEventListener("resize", () => {
  for (const view of new Set(views.values())) view.fitted = false;
  refit();
});

/* Tabs */
const tabs = all("[role=tab]");
function open(tab) {
  for (const other of tabs) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", chosen);
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  keep(null);
  refit();
}
function refit() {
  const panel = panels.find((one) => !one.hidden);
  const port = panel.querySelector(".viewport");
  if (!views.get(port).fitted) fit(views.get(port), READABLE);
}
for (const tab of tabs) {
  tab.addEventListener("click", () => open(tab));
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.indexOf(tab) + by + tabs.length) % tabs.length];
    next.focus();
    open(next);
  });
}

/* Details of what is pointed at or has the focus; a click keeps them. */
let kept = null;
function look(box) {
  clear();
  if (!box) return;
  const picture = box.closest(".picture");
  const id = box.dataset.box;
  const inTasks = picture.classList.contains("tasks");
  const scope = inTasks ? [picture] : all(".picture", box.closest("[role=tabpanel]"));
  for (const svg of scope) lookIn(svg, new Set([id]), inTasks);
  tell(FACTS[box.dataset.facts]);
}
function lookIn(svg, ids, inTasks = false) {
  const near = new Set(ids);
  for (const line of all(".line", svg)) {
    const { from, to } = line.dataset;
    if (!ids.has(from) && !ids.has(to)) continue;
    line.classList.add("near");
    near.add(from).add(to);
  }
  if (inTasks) for (const [one, other] of waits(svg, ids)) near.add(one.dataset.box).add(other.dataset.box);
  svg.classList.add("looking");
  for (const box of all(".box", svg)) {
    box.classList.toggle("near", near.has(box.dataset.box));
    box.classList.toggle("here", ids.has(box.dataset.box));
  }
}
/* Draw what a task waits for and what waits for it. */
function waits(svg, ids) {
  const found = [];
  const boxes = new Map(all(".box", svg).map((box) => [box.dataset.box, box]));
  for (const box of boxes.values()) {
    for (const before of box.dataset.after.split(" ").filter(Boolean)) {
      if (ids.has(box.dataset.box) || ids.has(before)) found.push([boxes.get(before), box]);
    }
  }
  for (const [one, other] of found) {
    const [a, b] = [one, other].map((box) => box.querySelector(".edge").getBBox());
    const [x1, y1, x2, y2] = [a.x + a.width, a.y + a.height / 2, b.x, b.y + b.height / 2];
    const bend = Math.max(12, (x2 - x1) / 2);
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("class", "wait");
    path.setAttribute("d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
    path.setAttribute("marker-end", "url(#to-data)");
    svg.append(path);
  }
  return found;
}
function clear() {
  for (const svg of all(".looking")) svg.classList.remove("looking");
  for (const one of all(".near, .here")) one.classList.remove("near", "here");
  for (const path of all(".wait")) path.remove();
  details.innerHTML = hint;
}
function tell(rows) {
  if (!rows) return;
  const [[kind, name], ...rest] = rows;
  const head = document.createElement("h3");
  const small = document.createElement("small");
  small.textContent = kind;
  head.append(small, name);
  const list = document.createElement("dl");
  for (const [what, value] of rest) {
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = what;
    text.textContent = value;
    text.classList.toggle("long", value.length > 160 || value.includes("\n"));
    list.append(term, text);
  }
  details.replaceChildren(head, list);
}
function keep(box) {
  kept = box && box !== kept ? box : null;
  look(kept);
}
for (const svg of all(".picture")) {
  const boxes = all(".box", svg);
  if (boxes.length) boxes[0].tabIndex = 0;
  svg.addEventListener("pointerover", (event) => kept || look(event.target.closest(".box")));
  svg.addEventListener("pointerleave", () => kept || look(null));
  svg.addEventListener("focusin", (event) => {
    const box = event.target.closest(".box");
    if (!box) return;
    for (const other of boxes) other.tabIndex = other === box ? 0 : -1;
    if (box.matches(":focus-visible")) { kept = null; look(box); }
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") keep(null);
  if ((event.key === "Enter" || event.key === " ") && event.target.closest?.(".box")) {
    event.preventDefault();
    keep(event.target.closest(".box"));
  }
});
/* The next box in a direction: near, and not far to the side. */
function step(box, key) {
  if (!box) return;
  const centre = (one) => { const at = one.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2]; };
  const [x, y] = centre(box);
  const turned = { ArrowRight: (dx, dy) => [dx, dy], ArrowLeft: (dx, dy) => [-dx, dy], ArrowDown: (dx, dy) => [dy, dx], ArrowUp: (dx, dy) => [-dy, dx] }[key];
  let best = null, least = Infinity;
  for (const other of all(".box", box.closest(".picture"))) {
    const [ox, oy] = centre(other);
    const [ahead, aside] = turned(ox - x, oy - y);
    const far = ahead + 2 * Math.abs(aside);
    if (other !== box && ahead > 1 && far < least) [best, least] = [other, far];
  }
  if (best) best.focus();
}

/* Passes */
for (const radio of all("input[name=pass]")) {
  radio.addEventListener("change", () => {
    for (const picture of all(".step[data-step]")) picture.hidden = picture.dataset.step !== radio.value;
    for (const told of all(".told")) told.hidden = !told.closest(".pass").contains(radio);
    keep(null);
  });
}
for (const item of all("[data-boxes]")) {
  const point = () => {
    clear();
    const ids = new Set(item.dataset.boxes.split(" ").filter(Boolean));
    for (const svg of all(".step:not([hidden]) .picture")) lookIn(svg, ids);
  };
  for (const start of ["pointerenter", "focus"]) item.addEventListener(start, point);
  for (const end of ["pointerleave", "blur"]) item.addEventListener(end, () => look(kept));
}

open(tabs[0]);
