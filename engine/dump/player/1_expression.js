// Expressions: the tree that a row gives of itself, `["/", 0.5, ["sqrt", "a"]]`, as a function of numbers.
//
// The page computes with nothing but these, so it cannot disagree with the library about what an op is. A function that
// it does not know makes the row one that the page cannot recompute; it says so and names the row.

const FUNCTIONS = {
  abs: Math.abs, floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc, sqrt: Math.sqrt, exp: Math.exp,
  expm1: Math.expm1, log: Math.log, log1p: Math.log1p, sin: Math.sin, cos: Math.cos, tan: Math.tan, atan: Math.atan,
  sinh: Math.sinh, cosh: Math.cosh, tanh: Math.tanh, pow: Math.pow,
  // To the nearest integer, halves to the even one.
  round(x) {
    const down = Math.floor(x);
    const rest = x - down;
    if (rest !== 0.5) return Math.round(x);
    return down % 2 === 0 ? down : down + 1;
  },
  // By its series, and from 3 on by the continued fraction of its complement.
  erf(x) {
    if (Number.isNaN(x)) return x;
    const z = Math.abs(x);
    if (z > 6) return Math.sign(x);
    if (z < 3) {
      let term = z;
      let sum = z;
      for (let n = 1; n < 200 && Math.abs(term) > 1e-18 * sum; ++n) {
        term *= -z * z / n;
        sum += term / (2 * n + 1);
      }
      return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
    }
    let fraction = 0;
    for (let n = 60; n > 0; --n) fraction = n / 2 / (z + fraction);
    return Math.sign(x) * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
  },
};

const OPERATORS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
  "<": (a, b) => +(a < b), "<=": (a, b) => +(a <= b), ">": (a, b) => +(a > b), ">=": (a, b) => +(a >= b),
  "==": (a, b) => +(a === b), "!=": (a, b) => +(a !== b),
  "&&": (a, b) => +(a !== 0 && b !== 0), "||": (a, b) => +(a !== 0 || b !== 0),
};

/// The function of an array of arguments that a tree describes. `indexOf` says which argument the name of an operand
/// is, or the number of a node; below 0 for none. Throws an Error that says what it does not understand.
function compile(tree, indexOf) {
  if (typeof tree === "number") return () => tree;
  if (!Array.isArray(tree)) {
    const operand = typeof tree === "object" ? tree.node : tree;
    const index = indexOf(operand);
    if (index >= 0) return (x) => x[index];
    if (operand === "NaN" || /^-?Infinity$/.test(operand)) return () => Number(operand);
    throw new Error(`${operand} is not known`);
  }
  const [head, ...rest] = tree;
  const [a, b, c] = rest.map((operand) => compile(operand, indexOf));
  if (head === "where" && c) return (x) => (a(x) !== 0 ? b(x) : c(x));
  if (head === "-" && !b) return (x) => -a(x);
  if (head === "!") return (x) => +(a(x) === 0);
  const f = Object.hasOwn(OPERATORS, head) ? OPERATORS[head] : Object.hasOwn(FUNCTIONS, head) && FUNCTIONS[head];
  if (!f || f.length !== rest.length) throw new Error(`${head} is a function that this page does not have`);
  return b ? (x) => f(a(x), b(x)) : (x) => f(a(x));
}
