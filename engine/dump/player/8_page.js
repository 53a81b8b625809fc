// The page: where it stands, what is edited, and how keys and buttons move it.

const $ = (id) => document.getElementById(id);
let position = 0;
let timer = null;

function stop() {
  clearInterval(timer);
  timer = null;
  $("play").setAttribute("aria-label", "Play");
  document.body.classList.remove("playing");
}

function play() {
  if (timer) return stop();
  if (position === frames.length - 1) go(0);
  $("play").setAttribute("aria-label", "Pause");
  document.body.classList.add("playing");
  timer = setInterval(() => {
    if (position === frames.length - 1) stop();
    else go(position + 1);
  }, 2200);
}

function go(to) {
  position = Math.min(Math.max(to, 0), frames.length - 1);
  const frame = frames[position];
  $("slider").value = position;
  $("slider").setAttribute("aria-valuetext", frame.title);
  $("position").textContent = `${position} of ${frames.length - 1}`;
  $("step-title").replaceChildren(frame.title, ...(frame.label ? frame.works.flatMap((id) => [" ", nameElement(label(id), false)]) : []));
  $("step").dataset.direction = frame.kind;
  $("cards").replaceChildren(...cardsOf(frame));
  announce();
  for (const tick of $("ticks").children) tick.classList.toggle("now", Number(tick.dataset.at) === position);
  $("back").disabled = $("first").disabled = position === 0;
  $("next").disabled = $("last").disabled = position === frames.length - 1;
  if (document.activeElement?.disabled) $("play").focus();  // keys that go to a disabled button are lost
  follow(frame);
  highlight(frame, movedHomes);
  for (const drawing of document.querySelectorAll("#extra .beside")) drawing.show(frame);
}

// A screen reader says where the page is now, what is computed and why: not the numbers, which are there to be read.
function announce() {
  const parts = [$("step-title"), ...document.querySelectorAll("#cards .why > :not(.where)")];
  $("announcement").textContent = parts.map((part) => part.textContent.trim().replace(/\.?$/, ".")).join(" ");
}

// The frame in which a box is computed or, on the way back, in which its rule runs.
function goToNode(id) {
  const kind = frames[position].kind === "backward" ? "backward" : "forward";
  const at = frames.findIndex((frame) => frame.kind === kind && frame.works.includes(id));
  go(at < 0 ? 0 : at);
}

// --- edits -----------------------------------------------------------------------------------------------------------

let movedHomes = [];

function edit(id, k, x) {
  const elements = Float64Array.from(edits.get(id) || recorded.get(id));
  elements[k] = x;
  const same = elements.every((y, i) => Object.is(y, recorded.get(id)[i]));
  if (same) edits.delete(id);
  else edits.set(id, elements);
  showEdits();
}

function showEdits() {
  recompute();
  const moved = movedNodes();
  movedHomes = [...new Set(moved.map(({ node }) => homes.get(node.id)))];
  for (const figureElement of document.querySelectorAll("figure.matrix")) refreshMatrix(figureElement);
  highlight(frames[position], movedHomes);
  $("edits").hidden = edits.size === 0;
  const text = $("moved");
  text.replaceChildren();
  if (edits.size === 0) {
    $("announcement").textContent = "The recorded numbers again.";
    return;
  }
  const still = graph.nodes.filter((n) => recorded.has(n.id) && n.folded_into == null && n.role !== "constant").length;
  text.append(`Edited: ${list([...edits.keys()].map(label))}. ${moved.length} of ${still} tensors moved`);
  moved.filter(({ node }) => !edits.has(node.id)).slice(0, 6).forEach(({ node, most }, i) => {
    text.append(i > 0 ? ", " : ", most of all ", nameElement(label(node.id), node.sweep > 0), ` by ${short(most)}`);
  });
  text.append(". All numbers on the page are computed in 64 bits.");
  if (blocked.size > 0) {
    const rows = [...new Set(blocked.values())];
    text.append(` This page cannot recompute ${list(rows)}: ${plural(blocked.size, "tensor that depends on it is", "tensors that depend on it are")} left out.`);
  }
  $("announcement").textContent = text.textContent;
}

// --- panes -----------------------------------------------------------------------------------------------------------

function tableOf(rows, numeric = []) {
  const [head, ...body] = rows;
  return element("table", {
    class: "listing",
    children: [
      element("thead", { children: [element("tr", { children: head.map((text, i) => element("th", { scope: "col", text, class: numeric.includes(i) ? "number" : null })) })] }),
      element("tbody", {
        children: body.map((row) => element("tr", {
          children: row.map((cell, i) => (cell instanceof Node ? element("td", { children: [cell] })
            : element("td", { text: cell, class: numeric.includes(i) || /^[-−\d.,e]+$/.test(cell) ? "number" : null }))),
        })),
      }),
    ],
  });
}

const typeElement = (node) => element("span", { class: "type", text: `${node.dtype}${shapeText(node.shape)}` });

// Every step with its formula and local derivatives: the page as a table, for print and for screen readers.
function overview() {
  const rows = [["step", "name", "formula", "derivatives", "type", "line"]];
  for (const frame of frames.slice(1)) {
    for (const one of frame.cards) {
      const step = `${frame.kind === "forward" ? "→" : "←"} ${frame.label}`;
      if (one.kind === "forward" || one.kind === "step") {
        const node = nodes.get(one.kind === "step" ? one.id : one.home);
        rows.push([step, nameElement(label(node.id), node.sweep > 0), formulaElement(node.formula || node.op), "",
          typeElement(node), node.where || ""]);
      } else if (one.kind === "sum") {
        const gradient = gradientOf(one.id, one.sweep);
        if (gradient) rows.push([step, nameElement(gradient.name, true), formulaElement(sumText(gradient)), "", "", ""]);
      } else {
        for (const given of one.given) {
          const held = nodes.get(given.node);
          const incoming = gradientOf(given.of, one.sweep);
          const passed = passes(given) && incoming?.node === given.node;
          rows.push([step, nameElement(given.name, true), formulaElement(passed ? incoming.name : held?.formula || ""),
            element("span", { children: [derivative(given), document.createTextNode(" = "), formulaElement(given.local)] }),
            held ? typeElement(held) : "", nodes.get(one.home).where || ""]);
        }
      }
    }
  }
  return tableOf(rows);
}

function duration(seconds) {
  const [unit, scale] = seconds < 1e-6 ? ["ns", 1e9] : seconds < 1e-3 ? ["µs", 1e6] : ["ms", 1e3];
  return `${(seconds * scale).toPrecision(3)} ${unit}`;
}

function costs() {
  const timed = graph.nodes.some((node) => node.seconds !== undefined);
  const rows = [["node", "op", "type", "bytes", "operations", ...(timed ? ["time"] : [])]];
  const shown = graph.nodes.filter((node) => node.role !== "constant");
  const most = Math.max(1, ...shown.map((node) => node.bytes));
  for (const node of shown) {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${(100 * node.bytes) / most}%`;
    rows.push([nameElement(label(node.id), node.sweep > 0), node.op, typeElement(node),
      element("span", { class: "barred", children: [bar, element("span", { text: String(node.bytes) })] }), String(node.flops),
      ...(timed ? [node.seconds === undefined ? "" : duration(node.seconds)] : [])]);
  }
  const bytes = shown.reduce((sum, node) => sum + node.bytes, 0);
  const flops = shown.reduce((sum, node) => sum + node.flops, 0);
  return element("div", {
    children: [element("p", { text: `${shown.length} tensors, ${bytes} bytes, ${flops} operations. A movement costs no operation, an elementwise op one for each element.` +
      `${timed ? " Times are those of each op called by itself, the median of several runs; in a shared loop it takes less." : ""}` }), tableOf(rows, [3, 4, 5])],
  });
}

function panes() {
  const all = [
    { title: "Every step", build: overview },
    { title: "Memory and cost", build: costs },
    ...data.panes.map((pane) => ({
      title: pane.title, note: pane.note,
      build: () => (pane.columns.length > 0 ? sideBySide(pane.columns)
        : pane.table.length > 0 ? tableOf(pane.table) : element("pre", { text: pane.text })),
    })),
  ];
  all.forEach((pane, i) => {
    const id = `pane-${i}`;
    const button = element("button", { type: "button", "aria-pressed": "false", "aria-controls": id, text: pane.title });
    const section = element("section", { id, class: "pane", hidden: true, children: [element("h2", { text: pane.title }), pane.note ? element("p", { text: pane.note }) : null] });
    let built = false;
    const show = (on) => {
      if (on && !built) section.append(pane.build());
      built ||= on;
      section.hidden = !on;
      button.setAttribute("aria-pressed", String(on));
    };
    button.addEventListener("click", () => {
      show(section.hidden);
      if (!section.hidden) section.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
    if (i === 0) window.addEventListener("beforeprint", () => show(true));
    $("panes").append(button);
    $("extra").append(section);
  });
}

function otherTheme() {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
}

// --- start -----------------------------------------------------------------------------------------------------------

function ticks() {
  if (frames.length > 48 || !frames.some((frame) => frame.label)) return;
  frames.forEach((frame, i) => {
    const tick = element("span", { class: `tick ${frame.kind}`, "data-at": i, text: frame.kind === "given" ? "·" : cut(visible(frame.label), 6) });
    tick.style.left = `${(100 * i) / Math.max(1, frames.length - 1)}%`;
    $("ticks").append(tick);
  });
}

function keys(event) {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target instanceof HTMLButtonElement;
  const moves = { ArrowRight: () => go(position + 1), ArrowLeft: () => go(position - 1), Home: () => go(0), End: () => go(frames.length - 1) };
  if (event.key === " " && !onButton) {
    event.preventDefault();
    play();
  } else if (moves[event.key]) {
    event.preventDefault();
    stop();
    moves[event.key]();
  }
}

function start() {
  $("title").textContent = graph.title || "Graph";
  const recordedNodes = graph.nodes.filter((node) => node.role !== "failed").length;
  $("subtitle").append(
    `${recordedNodes === graph.tape_size ? graph.tape_size : `${recordedNodes} of ${graph.tape_size}`} nodes` +
    `${graph.mode === "trace" ? ", traced without numbers" : ""}. `,
    element("span", { class: "hint", text: `Arrow keys step${graph.nodes.some(isEditable) ? "; change a number of a leaf and see what moves" : ""}.` }));
  for (const { shown, times, last } of graph.repeats) {
    $("subtitle").append(element("span", { class: "repeat",
      text: ` Shown once of ${times}: ${list(shown)}, up to ${list(last)}; the numbers are those of the first.` }));
  }
  drawFigure();
  watchView();
  panes();
  ticks();
  $("slider").max = frames.length - 1;
  $("slider").addEventListener("input", () => {
    stop();
    go(Number($("slider").value));
  });
  for (const [id, f] of [["first", () => go(0)], ["back", () => go(position - 1)], ["next", () => go(position + 1)], ["last", () => go(frames.length - 1)]]) {
    $(id).addEventListener("click", () => {
      stop();
      f();
    });
  }
  $("play").addEventListener("click", play);
  $("theme").addEventListener("click", otherTheme);
  $("reset").addEventListener("click", () => {
    edits.clear();
    showEdits();
  });
  document.addEventListener("keydown", keys);
  const asked = new URLSearchParams(location.hash.slice(1));
  if (asked.has("theme")) document.documentElement.dataset.theme = asked.get("theme");
  go(Number(asked.get("step") || 0));
  if (asked.has("pane")) $("panes").querySelectorAll("button")[Number(asked.get("pane"))]?.click();
  for (const one of asked.getAll("edit")) editFromText(one);
  if (asked.has("selftest")) selftest();
}

// `x,3,2.5` sets element 3 of x, through the cell on the page.
function editFromText(text) {
  const [of, k, x] = text.split(",");
  const id = graph.nodes.find((node) => node.name === of)?.id;
  const input = document.querySelector(`td[data-node="${id}"][data-index="${k}"] input`);
  if (!input) return;
  input.value = x;
  input.dispatchEvent(new Event("change"));
}

// What the page's policy did not let it load.
const refused = [];
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.blockedURI));

// Walks through every frame and writes down what the page shows, for the tests: the numbers are read from its cells.
function selftest() {
  const report = { frames: [], blocked: [...new Set(blocked.values())], steps: [], drawn: 0, painted: performance.now() };
  for (let i = 0; i < frames.length; ++i) {
    const before = performance.now();
    go(i);
    svg.getBBox();  // which has the browser lay the page out
    report.steps.push(performance.now() - before);
    report.drawn = Math.max(report.drawn, svg.getElementsByTagName("*").length);
    const cells = {};
    for (const cell of document.querySelectorAll("#cards td[data-node]")) {
      (cells[cell.dataset.node] ??= {})[cell.dataset.index] = cell.dataset.value ?? null;
    }
    report.frames.push({
      title: frames[i].title, kind: frames[i].kind, text: $("cards").innerText, cells,
      works: frames[i].works.map(label), lit: document.querySelectorAll("#figure .arrow.works").length,
    });
  }
  // What the keys do, from the first frame on.
  go(0);
  report.keys = ["ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"].map((key) => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    return position;
  });
  report.loaded = [...performance.getEntriesByType("resource").map((entry) => entry.name), ...refused];
  document.body.append(element("pre", { id: "report", hidden: true, text: JSON.stringify(report) }));
}

start();
