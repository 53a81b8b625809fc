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
  if (!node) return outside.get(id) || `%${id}`;
  if (node.role === "constant") return node.formula;
  return node.name || `%${id}`;
}

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

const readersOf = new Map();
for (const arrow of figure.arrows) {
  if (arrow.gradient) continue;
  if (!readersOf.has(arrow.from)) readersOf.set(arrow.from, []);
  readersOf.get(arrow.from).push(arrow.to);
}

const gradientOf = (id, sweep) => nodes.get(id)?.gradients?.find((g) => g.sweep === sweep);
