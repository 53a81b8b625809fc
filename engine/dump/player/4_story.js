// The story: the graph as a sequence of frames, forward and then backward.
//
// Nothing here knows any procedure. A frame is a step that the author of a graph has numbered or, where there are no
// numbers, one box forward and the rule of one box backward. Why each is as it is says the graph.

const frames = [{ kind: "given", title: "What is given", label: "", works: [], touches: [], arrows: [], cards: [] }];

const words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const count = (n) => words[n] || String(n);
const list = (items) => {
  const all = items.map(String);
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
};
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;

// What the rules of a node, and of the parts that its formula spells out, give.
const outgoing = (id, sweep) =>
  (nodes.get(id).contributions || []).filter((given) => given.sweep === sweep);
const passes = (given) => given.local_tree === 1;

// Pieces of sentences, as the description has them: a string is plain text, the others are marked.
const name = (id) => ({ [nodes.get(id)?.sweep > 0 ? "cotangent" : "name"]: label(id) });
const cotangent = (text) => ({ cotangent: text });
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
    title: label ? `Forward, step ${visible(label)}` : `Forward: ${list(works.map((id) => visible(nodes.get(id).name) || nodes.get(id).op))}`,
    arrows: works.flatMap(arrowsInto).map((arrow) => ({ arrow, back: false })),
    cards: works.map((home) => ({ kind: "forward", home })),
  };
}

function backwardFrame(label, sweep, rules, sums, recorded) {
  const cards = [
    ...sums.map((id) => ({ kind: "sum", id, sweep })),
    ...rules.map((home) => ({ kind: "rule", home, sweep, given: outgoing(home, sweep) })),
  ];
  // What a rule has recorded on its way is shown before what it gives. On a compiled program's tape it may be all.
  const told = new Set(cards.flatMap((card) =>
    card.kind === "sum" ? [gradientOf(card.id, sweep)?.node] : card.given.map((given) => given.node)));
  const others = recorded.filter((id) => !told.has(id) && spelledOutBy(id) === id);
  cards.splice(sums.length, 0, ...others.map((id) => ({ kind: "step", id })));
  const links = [];
  for (const card of cards) {
    for (const one of card.given || []) {
      const arrow = arrows.get(`${homes.get(one.target)} ${homes.get(card.home)}`);
      if (arrow && !links.some((link) => link.arrow === arrow)) links.push({ arrow, back: true });
    }
  }
  for (const id of sums) {
    for (const arrow of arrowsFrom(homes.get(id))) {
      if (!arrow.gradient && !links.some((link) => link.arrow === arrow)) {
        links.push({ arrow, back: true });
      }
    }
  }
  const homesAt = [...new Set([...sums, ...rules].map((id) => homes.get(id)))];
  const which = label ? `step ${visible(label)}` : list(homesAt.map((id) => visible(nodes.get(id).name) || nodes.get(id).op));
  const order = graph.sections.some((s) => s.sweep > 1) ? `, sweep ${sweep}` : "";
  return {
    kind: "backward", label, sweep, works: homesAt, cards, arrows: links,
    touches: links.map((link) => (homesAt.includes(link.arrow.to) ? link.arrow.from : link.arrow.to)),
    title: label ? `Backward${order}, step ${visible(label)}` : `Backward${order}: ${which}`,
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
        groups.push({ home, rules: new Set(), sums: new Set(), recorded: [] });
      }
      if (node?.role === "accumulation") groups.at(-1).sums.add(origin);
      else groups.at(-1).rules.add(spelledOutBy(origin));
      if (node && node.role !== "accumulation") groups.at(-1).recorded.push(node.id);
    }
    for (const { rules, sums, recorded } of groups) {
      frames.push(backwardFrame(step.label, section.sweep, [...rules], [...sums], recorded));
    }
  }
}
