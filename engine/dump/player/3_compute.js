// The numbers of the page: those that were recorded, or what they become when a leaf is edited.
//
// After an edit everything is computed anew in f64, node by node, from what the rows say of themselves: an elementwise
// row its expression, a reduction its steps, a movement where each element comes from. A row that says nothing is named
// as one that the page cannot recompute, and so is what depends on it.

const recorded = new Map();
for (const node of graph.nodes) {
  if (node.value?.elements) recorded.set(node.id, Float64Array.from(node.value.elements, number));
}

const edits = new Map();    // by leaf: its elements
let values = recorded;      // what the page shows
let blocked = new Map();    // nodes without a value since an edit, and the row that is to blame

const isEditable = (node) => (node.role === "leaf" || node.role === "seed") && recorded.has(node.id);

// For each element of `shape`, which element of a tensor of shape `from` meets it when that is broadcast.
function broadcastIndex(from, shape) {
  const strides = new Array(shape.length).fill(0);
  let stride = 1;
  for (let i = from.length - 1; i >= 0; --i) {
    if (from[i] !== 1) strides[shape.length - from.length + i] = stride;
    stride *= from[i];
  }
  const index = new Int32Array(sizeOf(shape));
  const place = new Array(shape.length).fill(0);
  let at = 0;
  for (let k = 0; k < index.length; ++k) {
    index[k] = at;
    for (let axis = shape.length - 1; axis >= 0; --axis) {
      at += strides[axis];
      if (++place[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      place[axis] = 0;
    }
  }
  return index;
}

const plans = new Map();

// How a node is computed from its inputs' elements: a function, or an Error that says why it cannot be.
function planOf(node) {
  if (!plans.has(node.id)) {
    let plan;
    try {
      plan = makePlan(node);
    } catch (error) {
      plan = error;
    }
    plans.set(node.id, plan);
  }
  return plans.get(node.id);
}

function makePlan(node) {
  const inputs = node.inputs.map((id) => nodes.get(id));
  if (inputs.some((input) => !input)) throw new Error("an input is not shown");
  if (node.reads_repeat) throw new Error("it has read another than is shown");
  if (node.expression) {
    const f = compile(node.expression_tree, (name) => "abcd".slice(0, inputs.length).indexOf(name));
    const index = inputs.map((input) => broadcastIndex(input.shape, node.shape));
    return (x) => {
      const out = new Float64Array(sizeOf(node.shape));
      const operands = new Array(x.length);
      for (let k = 0; k < out.length; ++k) {
        for (let i = 0; i < x.length; ++i) operands[i] = x[i][index[i][k]];
        out[k] = f(operands);
      }
      return out;
    };
  }
  if (node.fold) {
    const step = compile(node.fold.step_tree, (name) => ["acc", "a"].indexOf(name));
    const finish = compile(node.fold.finish_tree, (name) => ["acc", "n"].indexOf(name));
    const init = number(node.fold.init);
    const kept = inputs[0].shape.map((size, axis) => (node.attributes.axes.includes(axis) ? 1 : size));
    const index = broadcastIndex(kept, inputs[0].shape);
    const count = sizeOf(inputs[0].shape) / sizeOf(kept);
    return ([x]) => {
      const out = new Float64Array(sizeOf(kept)).fill(init);
      x.forEach((a, k) => (out[index[k]] = step([out[index[k]], a])));
      return out.map((acc) => finish([acc, count]));
    };
  }
  if (node.map) {
    return (x) => {
      const all = x.length === 1 ? x[0] : Float64Array.from(x.flatMap((part) => [...part]));
      return Float64Array.from(node.map, (from) => all[from]);
    };
  }
  throw new Error("it says nothing of how it computes");
}

// Everything from the edited leaves, or what was recorded where nothing is edited.
function recompute() {
  blocked = new Map();
  if (edits.size === 0) {
    values = recorded;
    return;
  }
  values = new Map();
  const dirty = new Set(edits.keys());
  for (const node of graph.nodes) {
    const { id } = node;
    if (edits.has(id)) {
      values.set(id, edits.get(id));
      continue;
    }
    if (node.inputs.some((input) => dirty.has(input))) dirty.add(id);
    const at = node.inputs.find((input) => blocked.has(input));
    const plan = node.inputs.length === 0 ? null : planOf(node);
    const x = node.inputs.map((input) => values.get(input));
    if (at === undefined && typeof plan === "function" && x.every(Boolean)) {
      values.set(id, plan(x));
    } else if (!dirty.has(id)) {
      if (recorded.has(id)) values.set(id, recorded.get(id));
    } else {
      const blame = node.reads_repeat ? `${node.op} (it reads what is shown once of several)` : node.op;
      blocked.set(id, at === undefined ? blame : blocked.get(at));
    }
  }
}

// Which nodes an edit has moved, those that moved most first, and by how much at most.
function movedNodes() {
  const out = [];
  for (const node of graph.nodes) {
    const [before, after] = [recorded.get(node.id), values.get(node.id)];
    if (!before || !after || before === after || node.folded_into != null) continue;
    let most = 0;
    let scale = 0;
    before.forEach((x, k) => {
      const d = Math.abs(after[k] - x);
      most = Math.max(most, Number.isNaN(d) && !Object.is(x, after[k]) ? Infinity : d || 0);
      scale = Math.max(scale, Math.abs(x));
    });
    // f64 sums its terms in another order than the library: that is no move.
    if (most > 1e-12 * scale) out.push({ node, most });
  }
  return out.sort((a, b) => b.most - a.most);
}
