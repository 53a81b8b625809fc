// Panes that stand beside the graph: its nodes in a column, and on either side what does their work, with lines between.
// What a step computes is lit here too.

const kLane = { node: 300, part: 392, gap: 118, line: 15, row: 25 };

// The nodes that a graph computes, in reading order, and where each alias would stand.
function computedNodes() {
  const out = [];
  for (const section of graph.sections) {
    for (const step of section.steps) {
      for (const { node: index } of step.items.filter((item) => "node" in item)) {
        const node = graph.nodes[index];
        if (node.folded_into == null && !["leaf", "seed", "failed"].includes(node.role)) out.push(node);
      }
    }
  }
  return out;
}

const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);

function sideBySide(columns) {
  const rows = computedNodes();
  const left = columns.length > 1 ? kLane.part + kLane.gap : 8;
  const heightOf = (part) => 34 + kLane.line * (part.lines.length + (part.detail ? 1 : 0));
  const tall = Math.max(...columns.map((c) => c.parts.reduce((sum, part) => sum + heightOf(part) + 14, 0)), rows.length * kLane.row);
  const height = tall + 40;
  const width = left + kLane.node + kLane.gap + kLane.part + 8;
  const drawing = make("svg", { class: "beside", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Which node goes where: ${columns.map((column) => column.title).join(" and ")}` });
  const links = make("g", {}, drawing);
  const lit = new Map();  // by node: what is lit with it
  const rowAt = new Map();
  const spread = (height - 40) / rows.length;
  make("text", { x: left + kLane.node / 2, y: 18, class: "beside-title" }, drawing, "this graph");
  rows.forEach((node, i) => {
    const y = 34 + i * spread;
    const group = make("g", { class: `beside-node${node.sweep > 0 ? " backward" : ""}`, "data-node": node.id, transform: `translate(${left},${y})` }, drawing);
    make("rect", { width: kLane.node, height: kLane.row - 4, rx: 5 }, group);
    if (stepOf(node)) make("text", { x: 8, y: 15, class: "beside-step" }, group, stepOf(node));
    make("text", { x: 30, y: 15 }, group, cut(`${label(node.id)} = ${pretty(node.formula || node.op)}`, 37));
    make("title", {}, group, `${label(node.id)} = ${node.formula || node.op}`);
    group.addEventListener("click", () => goToNode(homes.get(node.id)));
    rowAt.set(node.id, y + kLane.row / 2 - 2);
    lit.set(node.id, [group]);
  });
  columns.forEach((column, c) => {
    const before = columns.length > 1 && c === 0;
    const x = before ? 0 : left + kLane.node + kLane.gap;
    make("text", { x: x + kLane.part / 2, y: 18, class: "beside-title" }, drawing, column.title);
    const middle = (part) => {
      const at = part.nodes.map((id) => rowAt.get(id)).filter((y) => y !== undefined);
      return at.length > 0 ? at.reduce((sum, y) => sum + y, 0) / at.length : 0;
    };
    // Each as near to its nodes as those before and after it let it be.
    let free = 34;
    let rest = column.parts.reduce((sum, part) => sum + heightOf(part) + 14, 0);
    for (const part of column.parts) {
      const size = heightOf(part);
      const y = Math.max(free, Math.min(middle(part) - size / 2, height - rest));
      free = y + size + 14;
      rest -= size + 14;
      const group = make("g", { class: "beside-part", transform: `translate(${x},${y})` }, drawing);
      make("rect", { width: kLane.part, height: size, rx: 8 }, group);
      make("text", { x: 12, y: 20, class: "beside-name" }, group, part.title);
      part.lines.forEach((line, i) => {
        const text = make("text", { x: 12, y: 37 + i * kLane.line }, group, cut(pretty(line), 52));
        make("title", {}, text, line);
      });
      if (part.detail) make("text", { x: 12, y: 37 + part.lines.length * kLane.line, class: "beside-detail" }, group, part.detail);
      for (const id of part.nodes) {
        if (!rowAt.has(id)) continue;
        const [x0, y0] = [before ? left : left + kLane.node, rowAt.get(id)];
        const [x1, y1] = [before ? kLane.part : x, y + Math.min(size / 2, 30)];
        const bend = (x0 + x1) / 2;
        const link = make("path", { d: `M${x0},${y0}C${bend},${y0} ${bend},${y1} ${x1},${y1}`,
          class: `beside-link${nodes.get(id).sweep > 0 ? " backward" : ""}` }, links);
        lit.get(id).push(link, group);
      }
    }
  });
  for (const node of rows) {
    const missing = columns.filter((column) => !column.parts.some((part) => part.nodes.includes(node.id)));
    if (missing.length === 0) continue;
    const group = lit.get(node.id)[0];
    group.classList.add("gone");
    group.querySelector("title").textContent += `\nnot among: ${missing.map((column) => column.title).join(", ")}`;
  }
  drawing.show = (frame) => {
    for (const element of drawing.querySelectorAll(".works")) element.classList.remove("works");
    for (const id of computedIn(frame)) for (const element of lit.get(id) || []) element.classList.add("works");
  };
  drawing.show(frames[position]);
  return drawing;
}

// What a frame computes.
function computedIn(frame) {
  if (frame.kind === "forward") return frame.works;
  return frame.cards.flatMap((one) =>
    one.kind === "step" ? [one.id]
      : one.kind === "sum" ? [gradientOf(one.id, one.sweep)?.node] : one.given.map((given) => given.node));
}
