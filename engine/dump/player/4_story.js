// The story: the graph as a sequence of frames, forward and then backward, and the reasons why each is as it is.
//
// Nothing here knows any procedure. A frame is a step that the author of a graph has numbered or, where there are no
// numbers, one box forward and the rule of one box backward. Reasons follow from shapes, kinds of rows and fan-out.

const frames = [{ kind: "given", title: "What is given", label: "", works: [], touches: [], arrows: [], cards: [] }];

const words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const count = (n) => words[n] || String(n);
const list = (items) => {
  const all = items.map(String);
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
};
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

// --- forward ---------------------------------------------------------------------------------------------------------

// Axes along which a tensor of shape `from` is repeated to have shape `to`.
function repeatedAxes(from, to) {
  return to.map((_, axis) => axis).filter((axis) => (from[axis - to.length + from.length] ?? 1) !== to[axis]);
}
const alongAxes = (axes) => `along ${axes.length === 1 ? "axis" : "axes"} ${list(axes)}`;

function forwardReasons(home) {
  if (nodes.get(home).role === "failed") return [["Recording stopped here. ", nodes.get(home).message || ""]];
  const out = [];
  for (const node of partsOf.get(home) || []) {
    const first = nodes.get(node.inputs[0]);
    if (node.kind === "reduction" && first) {
      const n = sizeOf(first.shape) / Math.max(1, sizeOf(node.shape));
      const axes = node.attributes?.axes || [];
      out.push([node.op, ` takes ${n} numbers ${axes.length > 0 ? alongAxes(axes) : ""} to one: `, shapeText(first.shape),
        " becomes ", shapeText(node.shape), "."]);
    } else if (node.kind === "elementwise") {
      for (const id of new Set(node.inputs)) {
        const input = nodes.get(id);
        if (!input || isLiteral(id) || sizeOf(input.shape) === sizeOf(node.shape)) continue;
        out.push([name(id), ` has shape ${shapeText(input.shape)}: it is repeated `,
          alongAxes(repeatedAxes(input.shape, node.shape)), ` to meet ${shapeText(node.shape)}.`]);
      }
    } else if (node.kind === "contraction") {
      out.push([`Each element of ${shapeText(node.shape)} is a sum of products.`]);
    }
  }
  if (out.length === 0 && nodes.get(home).kind === "elementwise") out.push(["Each element is computed by itself."]);
  const readers = readersOf.get(home) || [];
  if (readers.length > 1 && readers.length < 8) {
    out.push([name(home), ` goes ${count(readers.length)} ways from here, to `, ...listed(readers.map(name)),
      `. On the way back ${count(readers.length)} contributions will meet at it.`]);
  }
  return out;
}

// --- backward --------------------------------------------------------------------------------------------------------

// What the rules of a box give to the boxes that it reads; parts inside the box hand on to one another.
function outgoing(id, sweep, factors = []) {
  const node = nodes.get(id);
  const out = [];
  for (const pullback of node?.pullbacks || []) {
    if (pullback.sweep !== sweep) continue;
    const target = node.inputs[pullback.input];
    const chain = pullback.local === "1" ? factors : [...factors, pullback.local];
    const rules = [{ node, target }];
    if (homes.get(target) === homes.get(id) && nodes.get(target)?.folded_into != null) {
      for (const one of outgoing(target, sweep, chain)) out.push({ ...one, rules: [...rules, ...one.rules] });
    } else {
      out.push({ target, held: pullback.node, name: pullback.name, factors: chain, rules });
    }
  }
  return out;
}

function backwardReasons(home, sweep, given) {
  const out = [];
  const incoming = gradientOf(home, sweep);
  for (const one of given) {
    const target = nodes.get(one.target);
    const to = name(one.target);
    const what = cotangent(one.name);
    const repeated = one.rules.some(({ node, target: at }) =>
      node.kind === "elementwise" && nodes.has(at) && sizeOf(nodes.get(at).shape) < sizeOf(node.shape));
    if (one.factors.length === 0) {
      out.push(["The derivative of ", name(home), " by ", to, " is 1: ", what, " is ",
        incoming ? cotangent(incoming.name) : "the cotangent", repeated ? ", added up." : " as it stands."]);
    } else if (one.factors.every((factor) => !/\bct\b/.test(factor))) {
      out.push([`Chain rule: `, what, ` is `, incoming ? cotangent(incoming.name) : "the cotangent",
        ` times the derivative of `, name(home), ` by `, to, `, which is `, code(product(one.factors)), `.`]);
    } else {
      out.push([`Chain rule: the rule of ${list(one.rules.map((rule) => rule.node.op))} takes `,
        incoming ? cotangent(incoming.name) : "the cotangent", ` (ct) to `, what, `.`]);
    }
    for (const { node, target: at } of one.rules) {
      const input = nodes.get(at) || target;
      if (!input) continue;
      const [many, few] = [sizeOf(node.shape), sizeOf(input.shape)];
      if (node.kind === "elementwise" && few < many) {
        out.push([spelled(at), ` was repeated `, alongAxes(repeatedAxes(input.shape, node.shape)),
          `: each of its elements had a part in ${many / few} elements of `, name(home),
          `, so their cotangents are added. A sum stands where the broadcast was.`]);
      } else if (node.kind === "reduction" && many < few) {
        out.push([`${node.op} took ${few / many} elements of `, spelled(at),
          ` to one, so each of them gets that one's cotangent. A broadcast stands where the ${node.op} was.`]);
      }
    }
  }
  return out;
}

// As one product, with parentheses around what is a sum.
const product = (factors) => factors.map((f) => (factors.length > 1 && / [-+?] /.test(f) ? `(${f})` : f)).join(" * ");

function sumReasons(id, gradient) {
  const readers = readersOf.get(homes.get(id)) || [];
  const { length } = gradient.terms;
  const ways = readers.length > 1 && readers.length === length && length < 8;
  return [[name(id), ways ? ` went ${count(readers.length)} ways on the way forward, to ` : ` is used ${count(length)} times`, ...(ways ? listed(readers.map(name)) : []),
    `. A change of `, name(id), ` moves the result through each of them, so the contributions add: `,
    cotangent(gradient.name), ` is the sum of `,
    ...(length < 8 ? listed(gradient.terms.map(cotangent)) : [`${length} of them`]), `.`]];
}

// Pieces of sentences: a string is plain text, the others are marked.
const name = (id) => ({ name: label(id), backward: nodes.get(id)?.sweep > 0 });
const spelled = (id) => (nodes.get(id)?.folded_into == null ? name(id) : code(nodes.get(id).formula));
const cotangent = (text) => ({ name: text, backward: true });
const code = (text) => ({ code: text });
function listed(pieces) {
  return pieces.flatMap((piece, i) =>
    i === 0 ? [piece] : [i === pieces.length - 1 ? " and " : ", ", piece]);
}

// --- frames ----------------------------------------------------------------------------------------------------------

function itemOf(ref) {
  return "alias" in ref ? { alias: graph.aliases[ref.alias] } : { node: graph.nodes[ref.node] };
}

function forwardFrame(label, ids) {
  const works = [...new Set(ids)];
  return {
    kind: "forward", label, works, touches: works.flatMap(operandsOf).map((id) => homes.get(id)),
    title: label ? `Forward, step ${label}` : `Forward: ${list(works.map((id) => nodes.get(id).name || nodes.get(id).op))}`,
    arrows: figure.arrows.filter((arrow) => works.includes(arrow.to)).map((arrow) => ({ arrow, back: false })),
    cards: works.map((home) => ({ kind: "forward", home })),
  };
}

function backwardFrame(label, sweep, rules, sums) {
  const cards = [
    ...sums.map((id) => ({ kind: "sum", id, sweep })),
    ...rules.map((home) => ({ kind: "rule", home, sweep, given: outgoing(home, sweep) })),
  ];
  const links = [];
  for (const card of cards) {
    for (const one of card.given || []) {
      const arrow = arrows.get(`${homes.get(one.target)} ${card.home}`);
      if (arrow && !links.some((link) => link.arrow === arrow)) links.push({ arrow, back: true });
    }
  }
  for (const id of sums) {
    for (const arrow of figure.arrows) {
      if (arrow.from === homes.get(id) && !arrow.gradient && !links.some((link) => link.arrow === arrow)) {
        links.push({ arrow, back: true });
      }
    }
  }
  const homesAt = [...new Set([...sums.map((id) => homes.get(id)), ...rules])];
  const which = label ? `step ${label}` : list(homesAt.map((id) => nodes.get(id).name || nodes.get(id).op));
  const order = graph.sections.some((s) => s.sweep > 1) ? `, sweep ${sweep}` : "";
  return {
    kind: "backward", label, sweep, works: homesAt, cards, arrows: links,
    touches: links.map((link) => (homesAt.includes(link.arrow.to) ? link.arrow.from : link.arrow.to)),
    title: label ? `Backward${order}, step ${label}` : `Backward${order}: ${which}`,
  };
}

for (const section of graph.sections) {
  for (const step of section.steps) {
    const items = step.items.map(itemOf);
    if (section.sweep === 0) {
      const ids = items.filter(({ node }) => node && node.role !== "leaf" && node.role !== "seed")
        .map(({ node }) => homes.get(node.id)).filter((id) => id != null);
      if (ids.length === 0) continue;
      if (step.label) frames.push(forwardFrame(step.label, ids));
      else for (const id of new Set(ids)) frames.push(forwardFrame("", [id]));
      continue;
    }
    // Groups of items of one box; a numbered step is one group.
    const groups = [];
    for (const { node, alias } of items) {
      if (node?.role === "seed" || node?.role === "leaf") continue;
      const origin = alias ? alias.origin : node.origin;
      if (origin == null || !nodes.has(origin)) continue;
      const home = homes.get(origin);
      if (groups.length === 0 || (!step.label && groups.at(-1).home !== home)) {
        groups.push({ home, rules: new Set(), sums: new Set() });
      }
      if (node?.role === "accumulation") groups.at(-1).sums.add(origin);
      else groups.at(-1).rules.add(home);
    }
    for (const { rules, sums } of groups) {
      frames.push(backwardFrame(step.label, section.sweep, [...rules], [...sums]));
    }
  }
}
