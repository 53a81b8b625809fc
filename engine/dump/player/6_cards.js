// What a frame shows: formulas, reasons, and the numbers as small coloured matrices.
//
// Everything from the graph becomes text, never markup. Cells know their node and place, so that an edit changes the
// numbers on the page without building it anew.

function element(tag, { text = null, children = [], ...attributes } = {}) {
  const out = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) out.setAttribute(key, value === true ? "" : value);
  }
  if (text !== null) out.textContent = text;
  out.append(...children.filter((child) => child !== null && child !== undefined));
  return out;
}

// As short as it can be read; the whole number is in the cell's title.
function short(x, decimals = null) {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "NaN" : x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  let text;
  if (decimals !== null && (size === 0 || size >= 0.5 * 10 ** -decimals)) text = x.toFixed(decimals);
  else if (decimals === null && size < 1e5 && Number(x.toFixed(2)) === x) text = String(x);
  else if (size < 1e-3 || size >= 1e5) text = x.toExponential(decimals === null ? 2 : 0).replace("e+", "e");
  else text = x.toPrecision(3);
  return text.replace(/-/g, "−");
}

// How many decimals the cells of one matrix have: four digits of the largest, or as few as say all. Null where no fixed
// point suits it.
function decimalsFor(elements, most) {
  if (!(most > 0) || most >= 1e5 || most < 1e-3) return most === 0 ? 0 : null;
  const wanted = Math.max(0, 3 - Math.floor(Math.log10(most)));
  for (let decimals = 0; decimals < wanted; ++decimals) {
    if (elements.every((x) => !Number.isFinite(x) || Number(x.toFixed(decimals)) === x)) return decimals;
  }
  return Math.min(wanted, 5);
}
const whole = (x) => (Object.is(x, -0) ? "-0" : String(x));

// Signs as a book has them. Names in backquotes stay as they are.
function pretty(text) {
  return text.split(/(`[^`]*`)/).map((part) =>
    part.startsWith("`") ? part : part.replace(/(^| )\* /g, "$1× ").replace(/ - /g, " − ").replace(/\bsqrt\(/g, "√(")
      .replace(/(^|[(,=] ?)-/g, "$1−")).join("");
}

const cotangentNames = new Set(graph.nodes.filter((n) => n.sweep > 0 || n.role === "seed").flatMap((n) => n.names || (n.name ? [n.name] : [])));

// A formula whose cotangents are marked.
function formulaElement(whole, tag = "code") {
  const text = visible(whole);
  const out = element(tag, { class: "formula" });
  for (const part of pretty(text).split(/([A-Za-z_][\w.#']*)/)) {
    if (cotangentNames.has(part)) out.append(element("span", { class: "cotangent", text: part }));
    else if (part) out.append(part);
  }
  return out;
}

function sentence(pieces) {
  return element("p", {
    children: pieces.filter((piece) => piece !== "").map((piece) => {
      if (typeof piece === "string") return document.createTextNode(piece);
      if (piece.formula) return formulaElement(piece.formula);
      if (piece.code) return element("code", { text: piece.code });
      return piece.cotangent ? nameElement(piece.cotangent, true) : nameElement(piece.name, false);
    }),
  });
}

// --- matrices --------------------------------------------------------------------------------------------------------

const kMostRows = 16, kMostColumns = 16, kMostSlices = 6, kMostTerms = 8;

function paint(cell, x, most) {
  const strength = Number.isFinite(x) && most > 0 ? Math.min(1, Math.abs(x) / most) : 0;
  cell.style.setProperty("--strength", (0.06 + 0.62 * strength).toFixed(3));
  cell.classList.toggle("positive", x > 0);
  cell.classList.toggle("negative", x < 0);
  cell.classList.toggle("broken", !Number.isFinite(x));
}

// Sets a cell to the number that its node has there now.
function fill(cell, x, most, was, decimals) {
  const input = cell.firstElementChild;
  const text = x === undefined ? "?" : short(x, decimals);
  if (input) {
    if (document.activeElement !== input) input.value = text;
  } else {
    cell.textContent = text;
  }
  if (x === undefined) {
    delete cell.dataset.value;
    cell.title = "not recomputed";
    cell.style.setProperty("--strength", "0");
    return;
  }
  cell.dataset.value = whole(x);
  const moved = was !== undefined && !Object.is(was, x) && Math.abs(was - x) > 1e-12 * most;
  cell.classList.toggle("moved", moved);
  cell.title = moved ? `${whole(x)}, was ${whole(was)}` : whole(x);
  paint(cell, x, most);
}

function refreshMatrix(figureElement) {
  const id = Number(figureElement.dataset.of);
  const now = figureElement.local ? figureElement.local() : values.get(id);
  const was = figureElement.local ? undefined : recorded.get(id);
  const most = now ? now.reduce((m, x) => (Number.isFinite(x) ? Math.max(m, Math.abs(x)) : m), 0) : 0;
  const decimals = now ? decimalsFor(now, most) : null;
  figureElement.dataset.decimals = decimals ?? "";
  if (now) figureElement.style.setProperty("--widest", Math.max(...Array.from(now.slice(0, 4096), (x) => short(x, decimals).length)));
  for (const cell of figureElement.querySelectorAll("td[data-index]")) {
    const k = Number(cell.dataset.index);
    fill(cell, now ? now[k] : undefined, most, was && was[k], decimals);
  }
}

// The elements of one tensor. `caption` is a piece of a sentence; `local` gives elements that are no node's.
function matrix({ id, shape, caption, editable = false, local = null, backward = false }) {
  const node = nodes.get(id);
  const out = element("figure", { class: backward ? "matrix backward" : "matrix", "data-of": local ? null : id });
  if (local) out.local = local;
  const size = shape.length === 0 ? "" : ` ${shapeText(shape)}`;
  out.append(element("figcaption", {
    children: [caption, element("span", { class: "shape", text: size })],
  }));
  const title = out.firstElementChild.textContent;
  out.setAttribute("aria-label", title);
  const elements = local ? local() : values.get(id) || recorded.get(id);
  if (!elements) {
    out.append(element("p", { class: "summary", text: summaryText(node) }));
    return out;
  }
  const rank = shape.length;
  const columns = rank > 0 ? shape[rank - 1] : 1;
  const rows = rank > 1 ? shape[rank - 2] : 1;
  const slices = columns * rows > 0 ? elements.length / (columns * rows) : 0;
  for (let slice = 0; slice < Math.min(slices, kMostSlices); ++slice) {
    const table = element("table", { "aria-label": slices > 1 ? `${title}, slice ${slice}` : title });
    for (let row = 0; row < Math.min(rows, kMostRows); ++row) {
      const line = element("tr");
      for (let column = 0; column < Math.min(columns, kMostColumns); ++column) {
        const k = (slice * rows + row) * columns + column;
        const cell = element("td", { "data-node": local ? null : id, "data-index": k });
        if (editable) cell.append(editor(id, k, label(id), rank > 1 ? [row, column] : [column]));
        line.append(cell);
      }
      if (columns > kMostColumns) line.append(element("td", { class: "more", text: "…" }));
      table.append(line);
    }
    if (rows > kMostRows) table.append(element("tr", { children: [element("td", { class: "more", text: "⋮" })] }));
    out.append(table);
  }
  if (slices > kMostSlices) out.append(element("p", { class: "summary", text: `and ${slices - kMostSlices} more` }));
  refreshMatrix(out);
  return out;
}

function summaryText(node) {
  const v = node?.value;
  if (node?.role === "failed") return "no value";
  if (node?.role === "scope") return `a scope of ${node.stands_for || 1} nodes`;
  if (!v) {
    return node?.presence === "released" ? "released by the sweep" : graph.mode === "trace" ? "traced: no numbers" : "no numbers";
  }
  const broken = v.not_finite > 0 ? `, ${v.not_finite} not finite` : "";
  return `${v.count} numbers: least ${short(number(v.min))}, mean ${short(number(v.mean))}, greatest ` +
    `${short(number(v.max))}, deviation ${short(number(v.deviation))}${broken}`;
}

function editor(id, k, of, place) {
  const input = element("input", { type: "text", inputmode: "decimal", "aria-label": `${of} ${place.join(", ")}` });
  input.addEventListener("focus", () => {
    input.value = whole(values.get(id)[k]);
    input.select();
  });
  const show = () => {
    const decimals = input.closest("figure").dataset.decimals;
    input.value = short(values.get(id)[k], decimals === "" ? null : Number(decimals));
  };
  // What is no number stays to be mended; whoever leaves it finds the number that was there.
  const read = () => {
    const text = input.value.trim().replace("−", "-");
    const x = text === "" ? NaN : Number(text);
    input.toggleAttribute("aria-invalid", Number.isNaN(x));
    if (Number.isNaN(x)) {
      document.getElementById("announcement").textContent =
        `“${input.value}” is no number: ${input.getAttribute("aria-label")} stays as it was.`;
    }
    return x;
  };
  input.addEventListener("blur", () => {
    show();
    input.removeAttribute("aria-invalid");
  });
  input.addEventListener("change", () => {
    const x = read();
    if (!Number.isNaN(x)) edit(id, k, x);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !Number.isNaN(read())) input.blur();
    if (event.key === "Escape") {
      show();
      input.blur();
    }
    event.stopPropagation();  // arrows move in the number
  });
  return input;
}

const nameElement = (text, backward) => element("span", { class: backward ? "name cotangent" : "name", text: visible(text) });

function matrixOf(id, text = label(id), backward = false) {
  const node = nodes.get(id);
  if (!node) return element("span", { class: "name", text });
  if (node.role === "constant") return element("span", { class: "literal", text: node.formula });
  return matrix({
    id, shape: node.shape, caption: nameElement(text, backward), editable: isEditable(node),
    backward: backward || node.sweep > 0 || node.role === "seed",
  });
}

// --- cards -----------------------------------------------------------------------------------------------------------

const operator = (text) => element("span", { class: "operator", text, "aria-hidden": "true" });

function card(title, reasons, flow, where) {
  return element("article", {
    class: "card",
    children: [
      element("div", {
        class: "why",
        children: [title, ...reasons.map(sentence), where ? element("p", { class: "where", text: where }) : null],
      }),
      element("div", { class: "flow", children: withOperators(flow) }),
    ],
  });
}

// An operator begins a line with what it is applied to, and never ends one.
function withOperators(flow) {
  const out = [];
  for (let i = 0; i < flow.length; ++i) {
    const leads = flow[i].classList.contains("operator") && i + 1 < flow.length;
    out.push(leads ? element("div", { class: "term", children: [flow[i], flow[++i]] }) : flow[i]);
  }
  return out;
}

function equation(left, right, backward = false) {
  return element("h3", {
    children: [nameElement(left, backward), document.createTextNode(" = "), formulaElement(right, "span")],
  });
}

function givenCards() {
  const leaves = graph.nodes.filter((node) => node.role === "leaf" && homes.get(node.id) === node.id);
  const seeds = graph.nodes.filter((node) => node.role === "seed");
  const out = [];
  const most = 24;
  const editable = [...leaves, ...seeds].some(isEditable);
  if (leaves.length > 0) {
    out.push(card(element("h3", { text: capital(plural(leaves.length, "leaf", "leaves")) }), [
      [`The graph is computed from `, ...listed(leaves.slice(0, most).map((node) => name(node.id))),
        leaves.length > most ? " and others." : "."],
      editable ? ["Change a number, and everything is computed anew from what each op says of itself."] : [""],
    ], leaves.slice(0, most).map((node) => matrixOf(node.id))));
  }
  if (seeds.length > 0) {
    const pieces = seeds.slice(0, most).map((node) => [cotangent(label(node.id)), node.cotangent_of == null ? "" : " at ",
      node.cotangent_of == null ? "" : name(node.cotangent_of)]);
    out.push(card(element("h3", { text: capital(plural(seeds.length, "cotangent", "cotangents")) }),
      [["The backward pass starts from ", ...listed(pieces).flat(), ": the derivative of the result by it."]],
      seeds.slice(0, most).map((node) => matrixOf(node.id, label(node.id), true))));
  }
  return out;
}

function computationCard(id, operands) {
  const node = nodes.get(id);
  const flow = [];
  operands.slice(0, kMostTerms).forEach((operand, i) => {
    if (i > 0) flow.push(operator(""));
    flow.push(matrixOf(operand));
  });
  flow.push(operator("→"), matrixOf(id));
  return card(equation(label(id), node.formula || node.op, node.sweep > 0), node.why || [], flow, node.where);
}

// The nodes whose values an expression takes.
const nodesIn = (tree) => (Array.isArray(tree) ? tree.flatMap(nodesIn) : typeof tree === "object" ? [tree.node] : []);
const wordsIn = (tree) => (Array.isArray(tree) ? tree.flatMap(wordsIn) : [tree]);

// The numbers of a local derivative, where it can be computed element by element.
function localMatrix(one) {
  const used = [...new Set(nodesIn(one.local_tree))];
  if (used.some((id) => !recorded.has(id) || sizeOf(nodes.get(id).shape) > 4096)) return null;
  try {
    const f = compile(one.local_tree, (operand) => used.indexOf(operand));
    const shape = used.reduce((wide, id) => (sizeOf(nodes.get(id).shape) > sizeOf(wide) ? nodes.get(id).shape : wide), []);
    const index = used.map((id) => broadcastIndex(nodes.get(id).shape, shape));
    const local = () => {
      const x = used.map((id) => values.get(id));
      if (!x.every(Boolean)) return null;
      return Float64Array.from({ length: sizeOf(shape) }, (_, k) => f(x.map((v, i) => v[index[i][k]])));
    };
    return matrix({ shape, local, caption: derivativeIs(one) });
  } catch {
    return null;
  }
}

// A part has no name: it is called by its formula.
const called = (id) => (nodes.get(id)?.folded_into == null ? label(id) : pretty(nodes.get(id).formula).replace(/^.* .*$/, "($&)"));
const derivative = ({ of, target }) => element("span", { class: "derivative", text: `∂${called(of)} / ∂${called(target)}` });

const derivativeIs = (one) => element("span", {
  children: [derivative(one), document.createTextNode(" = "), formulaElement(one.local)],
});

function ruleCards({ home, sweep, given }) {
  const node = nodes.get(home);
  return given.map((one, i) => {
    const incoming = gradientOf(one.of, sweep);
    const held = nodes.get(one.node);
    const passed = passes(one) && incoming && incoming.node === one.node;
    const right = passed ? incoming.name : held?.formula || `%${one.node}`;
    const flow = [];
    if (incoming) flow.push(matrixOf(incoming.node, incoming.name, true));
    if (!passes(one)) {
      // A rule that does more than multiply is said as what it takes the cotangent to.
      const multiplies = !wordsIn(one.local_tree).includes("ct");
      flow.push(operator(multiplies ? "×" : ""));
      flow.push((multiplies && localMatrix(one)) || element("p", {
        class: "local", children: [multiplies ? derivativeIs(one) : formulaElement(`ct ↦ ${one.local}`)],
      }));
    } else if (!passed) {
      flow.push(operator(""));
    }
    flow.push(operator(passed ? "=" : "→"), matrixOf(one.node, one.name, true));
    return card(
      equation(one.name, right, true),
      one.why || [],
      flow, i === given.length - 1 ? node.where : null);
  });
}

function sumCard({ id, sweep }) {
  const gradient = gradientOf(id, sweep);
  if (!gradient) return null;
  const terms = pullbacksTo(`${id} ${sweep}`);
  const flow = [];
  const all = gradient.terms || [];
  const shown = all.length <= kMostTerms ? all : all.slice(0, kMostTerms - 1);
  shown.forEach((term, i) => {
    if (i > 0) flow.push(operator("+"));
    const from = terms.find((one) => one.name === term);
    flow.push(from ? matrixOf(from.node, term, true) : element("span", { class: "name cotangent", text: term }));
  });
  if (shown.length < all.length) flow.push(operator(`+ … (${all.length - shown.length} more)`));
  flow.push(operator("="), matrixOf(gradient.node, gradient.name, true));
  return card(equation(gradient.name, sumText(gradient), true), gradient.why || [], flow, null);
}

function sumText({ terms = [] }) {
  const most = terms.length <= kMostTerms ? terms : [...terms.slice(0, 2), "…", terms.at(-1)];
  return most.join(" + ");
}

function cardsOf(frame) {
  if (frame.kind === "given") return givenCards();
  return frame.cards.flatMap((one) => {
    if (one.kind === "forward") return [computationCard(one.home, operandsOf(one.home))];
    if (one.kind === "step") return [computationCard(one.id, readBy(one.id))];
    if (one.kind === "rule") return ruleCards(one);
    return [sumCard(one)].filter(Boolean);
  });
}
