// The graph that the page shows, and what things are called.

const data = JSON.parse(document.getElementById("data").textContent);
const graph = data.graph;
const figure = data.figure;

// JSON has no NaN and no infinities: they come as words.
const number = (x) => (typeof x === "string" ? Number(x) : x);

const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
const outside = new Map(graph.outside.map(({ id, label }) => [id, label]));
const homes = new Map(graph.nodes.map((node, i) => [node.id, figure.homes[i]]));
const boxes = new Map(figure.boxes.map((box) => [box.node, box]));
const arrows = new Map(figure.arrows.map((arrow) => [`${arrow.from} ${arrow.to}`, arrow]));

function label(id) {
  const node = nodes.get(id);
  if (!node) return visible(outside.get(id) || `%${id}`);
  if (node.role === "constant") return node.formula;
  return visible(node.name) || `%${id}`;
}

// What a name may hold that would break a line or turn the letters around it, as an escape.
function visible(text = "") {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (sign) =>
    ({ "\n": "\\n", "\t": "\\t" })[sign] ||
    (sign < "\x80" ? `\\x${sign.charCodeAt(0).toString(16).padStart(2, "0")}` : `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`));
}

// " × 12" of what is shown once of twelve.
const times = ({ repeats }) => (repeats > 1 ? ` × ${repeats}` : "");
const isLiteral = (id) => nodes.get(id)?.role === "constant";
const shapeText = (shape) => `[${shape.join(", ")}]`;
const sizeOf = (shape) => shape.reduce((n, size) => n * size, 1);
// "5a" and "5b" belong to step 5.
const stepOf = (node) => (node.step || "").replace(/^(\d+)[a-z]$/, "$1");

// The nodes that a box stands for: its own and the unnamed parts that its formula spells out.
const partsOf = new Map();
for (const node of graph.nodes) {
  const home = homes.get(node.id);
  if (home == null || node.sweep !== nodes.get(home).sweep || node.role === "seed") continue;
  if (!partsOf.has(home)) partsOf.set(home, []);
  partsOf.get(home).push(node);
}

// The node whose formula spells a node out, through any number of formulas.
function spelledOutBy(id) {
  while (nodes.get(id)?.folded_into != null) id = nodes.get(id).folded_into;
  return id;
}

// What the formula of a node reads, each once: its inputs, and those of the parts that it spells out.
function readBy(id) {
  const out = nodes.get(id).inputs.filter((input) => !isLiteral(input))
    .flatMap((input) => (nodes.get(input)?.folded_into === id ? readBy(input) : [input]));
  return [...new Set(out)];
}

// What a box reads, each once: the inputs of its parts that are neither parts nor literals.
function operandsOf(home) {
  const out = [];
  for (const part of partsOf.get(home) || []) {
    for (const input of part.inputs) {
      const inside = homes.get(input) === home && nodes.get(input)?.folded_into != null;
      if (!inside && !isLiteral(input) && !out.includes(input)) out.push(input);
    }
  }
  return out;
}

// Lists by key, so that a step asks for what it needs and not through the whole graph.
function listsOf(items, keyOf) {
  const out = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!out.has(key)) out.set(key, []);
    out.get(key).push(item);
  }
  return (key) => out.get(key) || [];
}

const arrowsInto = listsOf(figure.arrows, (arrow) => arrow.to);
const arrowsFrom = listsOf(figure.arrows, (arrow) => arrow.from);
const pullbacksTo = listsOf(
  graph.nodes.flatMap((node) => (node.pullbacks || []).map((pullback) => ({ ...pullback, target: node.inputs[pullback.input] }))),
  ({ target, sweep }) => `${target} ${sweep}`);

const gradientOf = (id, sweep) => nodes.get(id)?.gradients?.find((g) => g.sweep === sweep);
