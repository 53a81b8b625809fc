// The figure: boxes and arrows where Graphviz has put them. Black arrows carry values forward, red ones cotangents back.

const SVG = "http://www.w3.org/2000/svg";
const svg = document.getElementById("figure");

// What the figure is made of. A piece is drawn when it is first seen or lit, and is in the document only while it is
// near what is seen: a step through thousands of boxes costs no more than one through forty.
const pieces = [];             // { extent, layer, draw, element, near }
const boxPieces = new Map();   // by node
const arrowPieces = new Map(); // by arrow; each also has its lines: { forward, backward, label }

function elementOf(piece) {
  return piece.element ||= piece.draw(piece);
}

function addPiece(layer, extent, draw) {
  const piece = { layer, extent, draw, element: null, near: false, lines: {} };
  pieces.push(piece);
  return piece;
}

function make(tag, attributes = {}, parent = null, text = null) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent?.append(element);
  return element;
}

// The curve shifted to its side, so that two arrows can run beside one another.
function shifted(points, by) {
  const out = [];
  for (let i = 0; i < points.length; i += 2) {
    let [a, b] = [Math.max(0, i - 2), Math.min(points.length - 2, i + 2)];
    let [dx, dy] = [0, 0];
    // Points of a curve may lie in one place: then those beyond them tell its direction.
    for (; ; a = Math.max(0, a - 2), b = Math.min(points.length - 2, b + 2)) {
      [dx, dy] = [points[b] - points[a], points[b + 1] - points[a + 1]];
      if (Math.hypot(dx, dy) > 4 || (a === 0 && b === points.length - 2)) break;
    }
    const length = Math.hypot(dx, dy) || 1;
    out.push(points[i] - (dy / length) * by, points[i + 1] + (dx / length) * by);
  }
  return out;
}

function pathOf(points) {
  let text = `M${points[0].toFixed(1)},${points[1].toFixed(1)}`;
  for (let i = 2; i < points.length; i += 2) {
    text += `${i % 6 === 2 ? "C" : " "}${points[i].toFixed(1)},${points[i + 1].toFixed(1)}`;
  }
  return text;
}

const reversed = (points) => {
  const out = [];
  for (let i = points.length - 2; i >= 0; i -= 2) out.push(points[i], points[i + 1]);
  return out;
};

function drawFigure() {
  const defs = make("defs", {}, svg);
  for (const kind of ["forward", "backward"]) {
    const marker = make("marker", {
      id: `head-${kind}`, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 9, markerHeight: 9,
      markerUnits: "userSpaceOnUse", orient: "auto",
    }, defs);
    make("path", { d: "M0,0.8L10,5L0,9.2z", class: `head ${kind}` }, marker);
  }
  // The title says what is at work; read out piece by piece a drawing is noise, and every step is in the cards.
  const layers = make("g", { "aria-hidden": "true" }, svg);
  const [frameLayer, arrowLayer, boxLayer] = [make("g", {}, layers), make("g", {}, layers), make("g", {}, layers)];
  drawScopes(frameLayer);
  const swept = new Set();
  for (const node of graph.nodes) {
    for (const pullback of node.pullbacks || []) {
      swept.add(`${homes.get(node.inputs[pullback.input])} ${homes.get(node.id)}`);
    }
  }
  for (const arrow of figure.arrows) {
    if (arrow.points.length < 8) continue;
    const both = swept.has(`${arrow.from} ${arrow.to}`);
    arrowPieces.set(arrow, addPiece(arrowLayer, extentOf(arrow), (piece) => drawArrow(arrow, both, piece)));
  }
  for (const box of figure.boxes) {
    const [w, h] = [box.width / 2 + 14, box.height / 2 + 14];
    boxPieces.set(box.node, addPiece(boxLayer, [box.x - w, box.y - h, box.x + w, box.y + h], () => drawBox(box)));
  }
}

function extentOf({ points, label_x: x = points[0], label_y: y = points[1] }) {
  const [xs, ys] = [[x - 60, x + 60], [y - 12, y + 12]];
  points.forEach((p, i) => (i % 2 === 0 ? xs : ys).push(p));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function drawArrow(arrow, both, piece) {
  const group = make("g");
  const far = arrow.far ? " far" : "";
  piece.lines.forward = make("path", {
    d: pathOf(both ? shifted(arrow.points, -3.5) : arrow.points),
    class: `arrow ${arrow.gradient ? "gradient" : "forward"}${far}`, "marker-end": "url(#head-forward)",
  }, group);
  if (both) {
    piece.lines.backward = make("path", {
      d: pathOf(reversed(shifted(arrow.points, 3.5))), class: `arrow backward${far}`, "marker-end": "url(#head-backward)",
    }, group);
    if (arrow.label && arrow.label_x) {
      piece.lines.label = make("text", { x: arrow.label_x, y: arrow.label_y + 4, class: "arrow-label" }, group, arrow.label);
    }
  }
  return group;
}

// As much of a text as there is room for. Graphviz was told of so many letters of a common width; how wide they are
// depends on the letters and on the reader's fonts.
const ruler = document.createElement("canvas").getContext("2d");
const fonts = getComputedStyle(document.documentElement);

function widthOf(text, font) {
  ruler.font = font.replace(/var\((.*)\)/, (_, name) => fonts.getPropertyValue(name));
  return ruler.measureText(text).width;
}

function fitting(text, font, room) {
  if (widthOf(text, font) <= room) return text;
  const letters = [...text];
  let [fits, most] = [0, letters.length];
  while (fits < most - 1) {
    const middle = (fits + most) >> 1;
    if (widthOf(`${letters.slice(0, middle).join("")}…`, font) <= room) fits = middle;
    else most = middle;
  }
  return `${letters.slice(0, fits).join("")}…`;
}

// A number in a circle; a longer label widens it.
function drawBadge(step, parent) {
  const font = "600 13px var(--sans)";
  const text = fitting(step, font, 90);
  const width = Math.max(24, widthOf(text, font) + 14);
  make("path", { d: `M2,-10H${width - 22}a12,12 0 0 1 0,24H2a12,12 0 0 1 0,-24z`, class: "badge" }, parent);
  make("text", { x: width / 2 - 10, y: 6.5, class: "badge-text" }, parent, text);
}

function drawBox(box) {
  const node = nodes.get(box.node);
  const group = make("g", {
    class: `box ${node.role}`, transform: `translate(${box.x - box.width / 2},${box.y - box.height / 2})`,
  });
  make("rect", { width: box.width, height: box.height, rx: 8 }, group);
  const room = box.width - 18;
  let y = 26;
  make("text", { x: 11, y, class: "box-name" }, group, fitting(label(node.id) + times(node), "600 14px var(--sans)", room));
  const mono = "12px var(--mono)";
  for (const line of box.formula) make("text", { x: 11, y: (y += 16) + 1, class: "box-formula" }, group, fitting(pretty(line), mono, room));
  for (const line of box.gradient) make("text", { x: 11, y: (y += 16) + 2, class: "box-gradient" }, group, fitting(line, mono, room));
  const step = stepOf(node);
  if (step) drawBadge(step, group);
  make("title", {}, group, `${label(node.id)}${node.formula && node.role !== "leaf" ? ` = ${node.formula}` : ""}\n${node.op} ` +
    `${node.dtype}${shapeText(node.shape)}, ${node.bytes} bytes${node.where ? `\n${node.where}` : ""}`);
  group.addEventListener("click", () => goToNode(node.id));
  return group;
}

// A frame around what lies in a scope, where there is more than one.
function drawScopes(layer) {
  const inhabited = graph.scopes.filter((scope, i) => i > 0 && scope.nodes > 0);
  if (inhabited.length < 2) return;
  const extent = graph.scopes.map(() => null);
  const grow = (i, x0, y0, x1, y1) => {
    const e = extent[i];
    extent[i] = e ? [Math.min(e[0], x0), Math.min(e[1], y0), Math.max(e[2], x1), Math.max(e[3], y1)] : [x0, y0, x1, y1];
  };
  for (const box of figure.boxes) {
    grow(nodes.get(box.node).scope, box.x - box.width / 2, box.y - box.height / 2, box.x + box.width / 2,
      box.y + box.height / 2);
  }
  for (let i = extent.length - 1; i > 0; --i) {
    const e = extent[i];
    if (!e) continue;
    const [x0, y0, x1, y1] = [e[0] - 8, e[1] - 22, e[2] + 8, e[3] + 8];
    grow(graph.scopes[i].parent, x0, y0, x1, y1);
    addPiece(layer, [x0, y0, x1, y1], () => {
      const group = make("g");
      make("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, rx: 10, class: "frame" }, group);
      make("text", { x: x0 + 10, y: y0 + 15, class: "frame-name" }, group, graph.scopes[i].name + times(graph.scopes[i]));
      return group;
    });
  }
}

// --- what is at work -------------------------------------------------------------------------------------------------

let lit = [];

function mark(element, ...classes) {
  if (!element) return;
  element.classList.add(...classes);
  lit.push([element, classes]);
}

function markBoxes(ids, name) {
  for (const id of ids) if (boxPieces.has(id)) mark(elementOf(boxPieces.get(id)), name);
}

function highlight(frame, moved) {
  for (const [element, classes] of lit) element.classList.remove(...classes);
  lit = [];
  svg.dataset.direction = frame.kind;
  markBoxes(frame.works, "works");
  markBoxes(frame.touches, "touched");
  for (const { arrow, back } of frame.arrows) {
    const piece = arrowPieces.get(arrow);
    if (!piece) continue;
    elementOf(piece);
    mark(back ? piece.lines.backward : piece.lines.forward, "works");
    if (back) mark(piece.lines.label, "works");
  }
  markBoxes(moved, "moved");
  document.getElementById("figure-title").textContent =
    `The graph. ${frame.title}${frame.works.length > 0 ? `: ${list(frame.works.map(label))} at work` : ""}`;
}

// --- which part of the figure is seen --------------------------------------------------------------------------------

const view = { x: 0, y: 0, scale: 1, fitted: true };
const kReadable = 0.58;  // below this scale text is too small to read,
const kClose = 0.85;     // and this one is taken instead
const kLargest = 1.6;

let stage = null;  // its size; asking the browser for it at every step would cost a layout

function stageSize() {
  stage ||= [svg.clientWidth || 1200, svg.clientHeight || 400];
  return stage;
}

function applyView() {
  const [width, height] = stageSize();
  seen(view.x, view.y, width / view.scale, height / view.scale);
}

function seen(x, y, width, height) {
  svg.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  for (const piece of pieces) {
    const [x0, y0, x1, y1] = piece.extent;
    const near = x1 > x - width / 2 && x0 < x + 1.5 * width && y1 > y - height / 2 && y0 < y + 1.5 * height;
    if (near === piece.near) continue;
    piece.near = near;
    if (near) piece.layer.append(elementOf(piece));
    else piece.element.remove();
  }
}

function fitScale() {
  const [width, height] = stageSize();
  return Math.min(width / (figure.width + 40), height / (figure.height + 40), kLargest);
}

function centre(x, y) {
  const [width, height] = stageSize();
  view.x = x - width / view.scale / 2;
  view.y = y - height / view.scale / 2;
}

// Where a view of so much has to begin to show none of what lies beyond the figure's ends; all of it in the middle.
function inside(at, seen, whole) {
  if (seen >= whole + 40) return (whole - seen) / 2;
  return Math.min(Math.max(at, -20), whole + 20 - seen);
}

// The figure is as high as it needs to be, so that the numbers below it are not far away.
function sizeStage() {
  stage = null;
  const [width] = stageSize();
  const whole = Math.min(kLargest, width / (figure.width + 40));
  const wanted = (figure.height + 44) * (whole < kReadable ? kClose : whole);
  const room = window.innerHeight;
  stage = null;
  svg.style.height = `${Math.round(Math.min(Math.max(wanted, 170), Math.max(0.44 * room, 220)))}px`;
}

// All of it, whatever is seen on the screen: for paper.
function showWhole(on) {
  if (on) seen(-20, -20, figure.width + 40, figure.height + 40);
  else applyView();
}

// All of it where that can be read, else what is at work.
function follow(frame) {
  if (!view.fitted) return;
  const scale = fitScale();
  if (scale >= kReadable || frame.works.length === 0 && scale >= 0.3) {
    view.scale = scale;
    centre(figure.width / 2, figure.height / 2);
  } else {
    const shown = (frame.works.length > 0 ? [...frame.works] : [figure.boxes[0]?.node]).map((id) => boxes.get(id)).filter(Boolean);
    if (shown.length === 0) return;
    view.scale = kClose;
    const x0 = Math.min(...shown.map((box) => box.x));
    const x1 = Math.max(...shown.map((box) => box.x));
    const y0 = Math.min(...shown.map((box) => box.y));
    const y1 = Math.max(...shown.map((box) => box.y));
    centre((x0 + x1) / 2, (y0 + y1) / 2);
    const [width, height] = stageSize();
    view.x = inside(view.x, width / view.scale, figure.width);
    view.y = inside(view.y, height / view.scale, figure.height);
  }
  applyView();
}

function zoom(by, at = null) {
  const [width, height] = stageSize();
  const [px, py] = at || [width / 2, height / 2];
  const scale = Math.min(4, Math.max(0.02, view.scale * by));
  view.x += px / view.scale - px / scale;
  view.y += py / view.scale - py / scale;
  view.scale = scale;
  view.fitted = false;
  applyView();
}

function watchView() {
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;  // the page scrolls
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, [event.offsetX, event.offsetY]);
  }, { passive: false });
  let from = null;
  svg.addEventListener("pointerdown", (event) => (from = [event.clientX, event.clientY, view.x, view.y]));
  window.addEventListener("pointermove", (event) => {
    if (!from || event.buttons === 0) return void (from = null);
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    if (Math.hypot(dx, dy) < 4) return;
    view.x = from[2] - dx / view.scale;
    view.y = from[3] - dy / view.scale;
    view.fitted = false;
    applyView();
  });
  document.getElementById("zoom-in").addEventListener("click", () => zoom(1.3));
  document.getElementById("zoom-out").addEventListener("click", () => zoom(1 / 1.3));
  document.getElementById("zoom-fit").addEventListener("click", () => {
    view.fitted = true;
    follow(frames[position]);
  });
  window.addEventListener("beforeprint", () => showWhole(true));
  window.addEventListener("afterprint", () => showWhole(false));
  sizeStage();
  new ResizeObserver(() => {
    sizeStage();
    if (view.fitted) follow(frames[position]);
    else applyView();
  }).observe(svg);
}
